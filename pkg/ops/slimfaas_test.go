package ops_test

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluicefaas/sluice/pkg/ops"
)

// moved has flags of the names that SlimFaas's variables are for.
type moved struct {
	Daemon           ops.DaemonConfig `embed:""`
	Listen           []string         `sep:"," default:":5000"`
	CORSAllowOrigin  []string         `name:"cors-allow-origin" sep:"," default:"*"`
	StartWait        time.Duration    `default:"120s"`
	StartNeverCalled bool
	Namespace        string
	BaseFunctionURL  string `name:"base-function-url"`
	MockFunctions    string
	AsyncBodyLimit   int64 `default:"1"`
	// The real one reads its text as a whole, commas and all.
	JobsConfiguration string
}

func parseMoved(t *testing.T, args ...string) moved {
	t.Helper()
	var cli moved
	if _, err := ops.Parse(&cli, args); err != nil {
		t.Fatal(err)
	}
	return cli
}

// Every variable of SlimFaas that is honoured, in every spelling, sets its flag.
func TestSlimFaasVariablesSetFlags(t *testing.T) {
	tests := []struct {
		env  string
		want func(moved) string
		is   string
	}{
		{"SLIMFAAS_PORTS=5000, 8080", func(m moved) string { return fmt.Sprint(m.Listen) }, "[:5000 :8080]"},
		{"SlimFaas__Ports__0=7000", func(m moved) string { return fmt.Sprint(m.Listen) }, "[:7000]"},
		{"SLIMFAAS_CORS_ALLOW_ORIGIN=http://a,http://b", func(m moved) string { return fmt.Sprint(m.CORSAllowOrigin) }, "[http://a http://b]"},
		{"SlimFaas__CorsAllowOrigin=http://c", func(m moved) string { return fmt.Sprint(m.CORSAllowOrigin) }, "[http://c]"},
		{"TIME_MAXIMUM_WAIT_FOR_AT_LEAST_ONE_POD_STARTED_FOR_SYNC_FUNCTION=10000", func(m moved) string { return m.StartWait.String() }, "10s"},
		{"POD_SCALED_UP_BY_DEFAULT_WHEN_INFRASTRUCTURE_HAS_NEVER_CALLED=True", func(m moved) string { return fmt.Sprint(m.StartNeverCalled) }, "true"},
		{"SlimFaas__PodScaledUpByDefaultWhenInfrastructureHasNeverCalled=true", func(m moved) string { return fmt.Sprint(m.StartNeverCalled) }, "true"},
		{"NAMESPACE=prod", func(m moved) string { return m.Namespace }, "prod"},
		{"SlimFaas__Namespace=prod", func(m moved) string { return m.Namespace }, "prod"},
		{"SLIMFAAS__NAMESPACE=prod", func(m moved) string { return m.Namespace }, "prod"},
		{"BASE_FUNCTION_URL=http://{function_name}:80/", func(m moved) string { return m.BaseFunctionURL }, "http://{function_name}:80/"},
		{"SlimFaas__BaseFunctionUrl=http://{pod_ip}", func(m moved) string { return m.BaseFunctionURL }, "http://{pod_ip}"},
		{`MOCK_KUBERNETES_FUNCTIONS={"Functions":[]}`, func(m moved) string { return m.MockFunctions }, `{"Functions":[]}`},
		{`SlimFaas__MockKubernetesFunctions={}`, func(m moved) string { return m.MockFunctions }, `{}`},
		{"SLIMFASS_MAX_REQUEST_BODY_SIZE=524288000", func(m moved) string { return fmt.Sprint(m.AsyncBodyLimit) }, "524288000"},
		{"Kestrel__Limits__MaxRequestBodySize=7", func(m moved) string { return fmt.Sprint(m.AsyncBodyLimit) }, "7"},
		{"SLIMFAAS_JOBS_CONFIGURATION={\n\"Configurations\": {}, \"Schedules\": {} }", func(m moved) string { return m.JobsConfiguration }, "{\n\"Configurations\": {}, \"Schedules\": {} }"},
		{`SlimFaas__JobsConfiguration={}`, func(m moved) string { return m.JobsConfiguration }, `{}`},
	}
	covered := map[string]bool{}
	for _, test := range tests {
		t.Run(test.env, func(t *testing.T) {
			name, value, _ := strings.Cut(test.env, "=")
			covered[name] = true
			t.Setenv(name, value)
			if got := test.want(parseMoved(t)); got != test.is {
				t.Errorf("the flag is %q, want %q", got, test.is)
			}
		})
	}
	for _, v := range ops.SlimFaasVariables() {
		for _, name := range v.Names {
			if v.Flag != "" && !covered[name] {
				t.Errorf("%s is not tested", name)
			}
		}
	}
}

// The flag wins over our variable, that over SlimFaas's newer spelling, that over the older one, and that over the default.
func TestOrderOfVariables(t *testing.T) {
	steps := []struct {
		env  [2]string
		want string
	}{
		{[2]string{"SLIMFAAS_PORTS", "1"}, "[:1]"},
		{[2]string{"SlimFaas__Ports__0", "2"}, "[:2]"},
		{[2]string{"SlimFaas__Ports__1", "3"}, "[:2 :3]"},
		{[2]string{"SLUICE_LISTEN", ":4"}, "[:4]"},
	}
	for _, step := range steps {
		t.Setenv(step.env[0], step.env[1])
		if got := fmt.Sprint(parseMoved(t).Listen); got != step.want {
			t.Errorf("with %s: %s, want %s", step.env[0], got, step.want)
		}
	}
	if got := fmt.Sprint(parseMoved(t, "--listen=:5").Listen); got != "[:5]" {
		t.Errorf("with the flag: %s", got)
	}
}

func TestWrongSlimFaasVariablesNameThemselves(t *testing.T) {
	for _, test := range []struct{ name, value, want string }{
		{"SLIMFAAS_PORTS", "5000;8080", "port numbers"},
		{"SLIMFAAS_PORTS", "70000", "port numbers"},
		{"SlimFaas__Ports__0", "http", "port numbers"},
		{"TIME_MAXIMUM_WAIT_FOR_AT_LEAST_ONE_POD_STARTED_FOR_SYNC_FUNCTION", "10s", "milliseconds"},
		{"POD_SCALED_UP_BY_DEFAULT_WHEN_INFRASTRUCTURE_HAS_NEVER_CALLED", "yes", "true or false"},
		{"SLIMFASS_MAX_REQUEST_BODY_SIZE", "-1", "whole number"},
		{"Kestrel__Limits__MaxRequestBodySize", "9999999999999999999", "whole number"},
	} {
		t.Run(test.name+"="+test.value, func(t *testing.T) {
			t.Setenv(test.name, test.value)
			_, err := ops.Parse(&moved{}, nil)
			if err == nil {
				t.Fatal("accepted")
			}
			for _, want := range []string{test.name, fmt.Sprintf("%q", test.value), test.want, "--"} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q lacks %q", err, want)
				}
			}
		})
	}
}

// A value that only the flag's own type refuses is said to come from the variable.
func TestWrongFlagFromAVariableOfSlimFaas(t *testing.T) {
	t.Setenv("BASE_FUNCTION_URL", "x")
	_, err := ops.Parse(&struct {
		BaseFunctionURL refusing `name:"base-function-url"`
	}{}, nil)
	if err == nil || !strings.Contains(err.Error(), "--base-function-url") || !strings.Contains(err.Error(), "from BASE_FUNCTION_URL") {
		t.Errorf("the error is %v", err)
	}
}

type refusing struct{}

func (*refusing) UnmarshalText(text []byte) error { return fmt.Errorf("%q is wrong", text) }

func notices(t *testing.T, cli any) []string {
	t.Helper()
	parsed, err := ops.Parse(cli, nil)
	if err != nil {
		t.Fatal(err)
	}
	return ops.SlimFaasNotices(parsed)
}

func TestSlimFaasNotices(t *testing.T) {
	for name, value := range map[string]string{
		"SLIM_WORKER_DELAY_MILLISECONDS": "10", "slimdata__DIRECTORY": "/database", "SlimFaas__StatusStream__MaxSseClients": "5",
		"SLIMFAAS_JOBS_CONFIGURATION": "{}", "SLIMFAAS_PORTS": "5000", "SLIMFAAS_CORS_ALLOW_ORIGIN": "", "NAMESPACE": "shared", "HOSTNAME": "pod-1",
		"SLIMFAAS_PORT": "tcp://10.0.0.1:5000", "Kestrel__Limits__MaxRequestBodySize": "7",
	} {
		t.Setenv(name, value)
	}
	has := notices(t, &moved{})
	hasNot := notices(t, &struct {
		ops.LogConfig
	}{})
	want := []string{
		"SlimFaas__StatusStream__MaxSseClients of SlimFaas",
		"SLIM_WORKER_DELAY_MILLISECONDS of SlimFaas has no effect: Nothing is polled", "slimdata__DIRECTORY of SlimFaas has no effect: State is in NATS",
	}
	expectNotices(t, has, want...)
	expectNotices(t, hasNot, append([]string{"SLIMFAAS_PORTS of SlimFaas has no effect on this program: it is for those that have the flag --listen", "Kestrel__Limits__MaxRequestBodySize", "SLIMFAAS_JOBS_CONFIGURATION of SlimFaas has no effect on this program: it is for those that have the flag --jobs-configuration"}, want...)...)
}

// A flag that is given wins, and that is said.
func TestSlimFaasNoticeOfAGivenFlag(t *testing.T) {
	t.Setenv("SLIMFAAS_PORTS", "5000")
	var cli moved
	parsed, err := ops.Parse(&cli, []string{"--listen=:6000"})
	if err != nil {
		t.Fatal(err)
	}
	expectNotices(t, ops.SlimFaasNotices(parsed), "SLIMFAAS_PORTS of SlimFaas has no effect: --listen is given")
}

func expectNotices(t *testing.T, notices []string, parts ...string) {
	t.Helper()
	if len(notices) != len(parts) {
		t.Errorf("%d notices, want %d:\n%s", len(notices), len(parts), strings.Join(notices, "\n"))
	}
	for _, part := range parts {
		if !slices.ContainsFunc(notices, func(n string) bool { return strings.Contains(n, part) }) {
			t.Errorf("%q is missing in\n%s", part, strings.Join(notices, "\n"))
		}
	}
}

// A daemon says it in its log without a word of its program.
func TestDaemonLogsSlimFaasNotices(t *testing.T) {
	t.Setenv("SLIMDATA_DIRECTORY", "/database")
	t.Setenv("SLUICE_LOG_FORMAT", "json")
	cli := parseMoved(t)
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr := os.Stderr
	os.Stderr = write
	_, err = ops.NewDaemon("test", cli.Daemon)
	os.Stderr = stderr
	write.Close()
	if err != nil {
		t.Fatal(err)
	}
	line := make([]byte, 4096)
	n, _ := read.Read(line)
	if !strings.Contains(string(line[:n]), "SLIMDATA_DIRECTORY") || !strings.Contains(string(line[:n]), `"warn"`) {
		t.Errorf("the log is %q", line[:n])
	}
}

var update = flag.Bool("update", false, "write the generated parts of the documents anew")

const slimFaasDoc = "../../docs/slimfaas.md"

// The table of variables in docs/slimfaas.md is the one of the code.
func TestSlimFaasVariablesAreDocumented(t *testing.T) {
	var table strings.Builder
	table.WriteString("| variables of SlimFaas | flag | what becomes of the value, or what there is instead |\n|---|---|---|\n")
	for _, v := range ops.SlimFaasVariables() {
		flag := "–"
		if v.Flag != "" {
			flag = "`--" + v.Flag + "`"
		}
		fmt.Fprintf(&table, "| `%s` | %s | %s |\n", strings.ReplaceAll(strings.Join(v.Names, "`, `"), "*", "…"), flag, v.Instead)
	}
	text, err := os.ReadFile(slimFaasDoc)
	if err != nil {
		t.Fatal(err)
	}
	between := regexp.MustCompile(`(?s)(<!-- variables -->\n).*(<!-- end of variables -->)`)
	want := between.ReplaceAll(text, []byte("${1}"+table.String()+"${2}"))
	if *update {
		if err := os.WriteFile(slimFaasDoc, want, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if !between.Match(text) || !*update && string(want) != string(text) {
		t.Errorf("%s has not the table of the code: run go test ./pkg/ops -run TestSlimFaasVariablesAreDocumented -update", slimFaasDoc)
	}
}

// No name stands twice: which row holds would depend on their order.
func TestSlimFaasVariablesAreUnique(t *testing.T) {
	seen := map[string]bool{}
	for _, v := range ops.SlimFaasVariables() {
		if v.Instead == "" {
			t.Errorf("%v has no sentence", v.Names)
		}
		for _, name := range v.Names {
			if seen[strings.ToLower(name)] {
				t.Errorf("%s is there twice", name)
			}
			seen[strings.ToLower(name)] = true
		}
	}
}
