package scaler

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"github.com/sluicefaas/sluice/pkg/function"
)

// parse reads the flags of a Config.
func parse(t *testing.T, args ...string) (Config, error) {
	t.Helper()
	var config Config
	parser, err := kong.New(&config, kong.Exit(func(int) { t.Error("the flags end the process") }))
	if err != nil {
		t.Fatal(err)
	}
	_, err = parser.Parse(args)
	return config, err
}

func TestBaseFunctionURL(t *testing.T) {
	t.Parallel()
	for template, want := range map[string][]string{
		"":                                         {"10.1.2.3:8080", "[fd00::1]:8080", ""},
		"http://{pod_ip}:{pod_port}":               {"10.1.2.3:8080", "[fd00::1]:8080", ""},
		"http://{pod_ip}:{pod_port}/":              {"10.1.2.3:8080", "[fd00::1]:8080", ""},
		"http://{pod_ip}":                          {"10.1.2.3:80", "[fd00::1]:80", ""},
		"http://{pod_ip}:9000":                     {"10.1.2.3:9000", "[fd00::1]:9000", ""},
		"http://{function_name}":                   {"a:80", "a:80", "a:80"},
		"http://{function_name}:{pod_port}":        {"a:8080", "a:8080", ""},
		"http://{function_name}.{namespace}.svc:5": {"a.demo.svc:5", "a.demo.svc:5", "a.demo.svc:5"},
		"http://[fd00::2]:5":                       {"[fd00::2]:5", "[fd00::2]:5", "[fd00::2]:5"},
	} {
		config, err := parse(t, "--base-function-url="+template)
		if err != nil {
			t.Errorf("%s: %v", template, err)
			continue
		}
		w := function.Workload{Function: spec("a", 0, 0), Pods: []function.Pod{
			{Name: "a-1", Address: "10.1.2.3:8080", Ready: true}, {Name: "a-2", Address: "[fd00::1]:8080", Ready: true}, {Name: "a-3", Ready: true},
		}}
		var got []string
		for _, pod := range config.BaseFunctionURL.apply(w, "demo").Pods {
			got = append(got, pod.Address)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: the addresses are %q, want %q", template, got, want)
		}
		if w.Pods[0].Address != "10.1.2.3:8080" {
			t.Error("the workload of the cluster was changed")
		}
	}
}

func TestBadURLsAreRefusedAtStart(t *testing.T) {
	t.Parallel()
	for argument, wants := range map[string][]string{
		"--base-function-url={pod_ip}:80":                 {"--base-function-url", `"{pod_ip}:80"`, "http://host:port"},
		"--base-function-url=https://{pod_ip}:{pod_port}": {"does not begin with http://"},
		"--base-function-url=http://":                     {"has no host"},
		"--base-function-url=http://:80":                  {"has no host"},
		"--base-function-url=http://{pod_ip}/path":        {"a path, a query or a fragment"},
		"--base-function-url=http://{pod_ip}?a=b":         {"a path, a query or a fragment"},
		"--base-function-url=http://user@{pod_ip}":        {"has a user"},
		"--base-function-url=http://{pod-ip}":             {"{pod-ip}, which stands for nothing"},
		"--base-function-url=http://{POD_IP}":             {"{POD_IP}, which stands for nothing"},
		"--base-function-url=http://{pod_ip}:0":           {"has the port 0"},
		"--base-function-url=http://{pod_ip}:99999":       {"has the port 99999"},
		"--base-function-url=http://{pod_ip":              {"is no URL"},
		"--base-function-url=http://a b":                  {"is no URL"},
		"--base-function-url=http://a:x":                  {"is no URL"},
		"--prometheus-url=prometheus:9090":                {"--prometheus-url", `"prometheus:9090" begins neither with http:// nor with https://`, "want http://host:port"},
		"--prometheus-url=ftp://prometheus":               {"begins neither"},
		"--prometheus-url=http://":                        {"has no host"},
		"--prometheus-url=http://a?b=c":                   {"a query"},
		"--prometheus-url=http://a:b":                     {"is no URL"},
		"--prometheus-url=ftp://me:secret@a":              {"ftp://me:xxxxx@a"},
	} {
		_, err := parse(t, argument)
		for _, want := range wants {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q", argument, err, want)
			}
		}
	}
}

func FuzzFunctionURL(f *testing.F) {
	for _, seed := range []string{"http://{pod_ip}:{pod_port}", "http://[{pod_ip}]:1", "http://{function_name}.{namespace}:5000/", "http://a:80@b"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, template string) {
		var u FunctionURL
		if u.UnmarshalText([]byte(template)) != nil || template == "" {
			return
		}
		w := function.Workload{Function: spec("a", 0, 0), Pods: []function.Pod{{Address: "10.0.0.1:80"}}}
		address := u.apply(w, "ns").Pods[0].Address
		if strings.ContainsAny(address, "{}/@?# ") || !strings.Contains(address, ":") {
			t.Fatalf("%q makes the address %q", template, address)
		}
	})
}

// With one address for all replicas, a function is one endpoint.
func TestSharedAddressIsOneEndpoint(t *testing.T) {
	t.Parallel()
	w := deployed(spec("a", 1, 300), 3)
	w.Function.Protocol = function.ProtocolH2C
	for i := range w.Pods {
		w.Pods[i].Ready = false
	}
	f := newFixture(t, w)
	if err := f.config.BaseFunctionURL.UnmarshalText([]byte("http://{function_name}.{namespace}:5000")); err != nil {
		t.Fatal(err)
	}
	f.config.Namespace = "demo"
	f.startSynced()
	if got := f.reader.replicas("a"); len(got) != 0 {
		t.Errorf("no replica is ready, the endpoints are %v", got)
	}
	f.cluster.change("a", func(w *function.Workload) { w.Pods[1].Ready = true })
	want := []function.Endpoint{{Replica: "a", Address: "a.demo:5000", Protocol: function.ProtocolH2C}}
	eventually(t, "one is ready", func() bool { state, _ := f.reader.get("a"); return slices.Equal(state.Endpoints, want) })
	f.cluster.change("a", func(w *function.Workload) { w.Pods[2].Ready = true })
	never(t, 100e6, "the endpoint changes", func() bool { state, _ := f.reader.get("a"); return !slices.Equal(state.Endpoints, want) })
}

// A function with one address goes to zero after it has left the bucket and its calls have ended.
func TestSharedAddressDrains(t *testing.T) {
	t.Parallel()
	f := newFixture(t, deployed(spec("a", 0, 0), 2))
	if err := f.config.BaseFunctionURL.UnmarshalText([]byte("http://{function_name}:8001")); err != nil {
		t.Fatal(err)
	}
	c := f.caller("g", 0)
	f.startSynced()
	eventually(t, "the endpoint leaves", func() bool { state, there := f.reader.get("a"); return there && len(state.Endpoints) == 0 })
	f.stays("a sender has an older revision")
	c.at(newest)
	f.isAsked(0, "a-1", "a-2")
}

// One of several replicas with one address cannot be kept from calls: it ends at a moment without any, or when its time is over.
func TestSharedAddressIsLoweredBetweenCalls(t *testing.T) {
	t.Parallel()
	for _, timeOver := range []bool{false, true} {
		f := newFixture(t, scales(deployed(spec("a", 0, 300), 2), figure(function.FigureInFlight, 2)))
		if err := f.config.BaseFunctionURL.UnmarshalText([]byte("http://{function_name}:8001")); err != nil {
			t.Fatal(err)
		}
		if timeOver {
			f.drain = 300 * time.Millisecond
		}
		c := f.caller("g", newest)
		c.busy("a", 1, 1) // its address is a:8001, as that of all
		f.startSynced().trusted()
		if !timeOver {
			f.stays("a call is in flight at the address of all")
			c.busy("a", 1, 0)
		}
		f.isAsked(1, "a-2")
		if got := f.reader.replicas("a"); !slices.Equal(got, []string{"a"}) {
			t.Errorf("the endpoints are %v", got)
		}
	}
}
