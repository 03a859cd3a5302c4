package main

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// elsewhere is a function that somebody else runs, as a container of a compose file does.
func elsewhere(t *testing.T, name string) (port string) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprintf(w, "%s %s %s", name, r.Method, r.URL.Path)
	}))
	t.Cleanup(server.Close)
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// The environment of SlimFaas's docker-compose chapter: functions that run already, named by MOCK_KUBERNETES_FUNCTIONS and called at
// BASE_FUNCTION_URL, on the ports of SLIMFAAS_PORTS.
func TestEnvironmentOfSlimFaas(t *testing.T) {
	t.Parallel()
	s := newSystem(t, nil)
	if err := os.Remove(filepath.Join(s.folder, "f.yaml")); err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(s.api)
	_, second, _ := net.SplitHostPort(freeAddress(t))
	s.api = "" // SLIMFAAS_PORTS says it
	s.env = []string{
		"SLIMFAAS_PORTS=" + port + "," + second,
		"BASE_FUNCTION_URL=http://127.0.0.1:{pod_port}",
		fmt.Sprintf(`MOCK_KUBERNETES_FUNCTIONS={"Functions":[{"Name":"fibonacci1","NumberParallelRequest":1,"Port":%s},`+
			`{"name":"fibonacci4","port":%s,"defaultVisibility":"Private"}],"Slimfaas":[{"Name":"slimfaas-1"}]}`, elsewhere(t, "one"), elsewhere(t, "four")),
		"SLIMDATA_DIRECTORY=/database", "SLIMDATA_CONFIGURATION={\"coldStart\":\"true\"}", "SlimFaas__CorsAllowOrigin=http://app.example.org",
		"NAMESPACE=slimfaas-demo",
	}
	s.launch()
	s.api = "127.0.0.1:" + port
	s.eventually(30*time.Second, "sluice is ready", func() bool { status, _ := s.get("/ready"); return status == http.StatusOK })
	for _, api := range []string{port, second} {
		s.api = "127.0.0.1:" + api
		if status, body := s.get("/function/fibonacci1/hello/guillaume"); status != http.StatusOK || body != "one GET /hello/guillaume" {
			t.Errorf("port %s: %d %s", api, status, body)
		}
	}
	if status, _ := s.get("/function/fibonacci4/"); status != http.StatusNotFound {
		t.Errorf("a private function answered %d", status)
	}
	if status, _, body := s.send(http.MethodPost, "/async-function/fibonacci1/fibonacci", `{"input":10}`); status != http.StatusAccepted {
		t.Errorf("async: %d %s", status, body)
	}
	if ready, requested := s.status("fibonacci1"); ready != 1 || requested != 1 {
		t.Errorf("%d ready of %d", ready, requested)
	}
	for _, want := range []string{"SLIMDATA_DIRECTORY of SlimFaas has no effect", "SLIMDATA_CONFIGURATION of SlimFaas has no effect"} {
		if !strings.Contains(s.out.String(), want) {
			t.Errorf("the log does not say %q", want)
		}
	}
	inside := regexp.MustCompile(`inside +http://(\S+)`).FindStringSubmatch(s.out.String())
	if inside == nil {
		t.Fatal("the greeting does not name the inside address")
	}
	s.api = inside[1]
	if status, body := s.get("/function/fibonacci4/"); status != http.StatusOK {
		t.Errorf("a private function from inside: %d %s", status, body)
	}
}

func TestWrongVariablesNameThemselves(t *testing.T) {
	t.Parallel()
	for env, want := range map[string]string{
		"SLIMFAAS_PORTS=many":                                  "SLIMFAAS_PORTS",
		"MOCK_KUBERNETES_FUNCTIONS={":                          "MOCK_KUBERNETES_FUNCTIONS",
		`MOCK_KUBERNETES_FUNCTIONS={"Functions":[{"Name":1}]}`: "MOCK_KUBERNETES_FUNCTIONS",
		"BASE_FUNCTION_URL=ftp://x":                            "BASE_FUNCTION_URL",
	} {
		t.Run(env, func(t *testing.T) {
			s := newSystem(t, nil)
			s.env = []string{env}
			if strings.HasPrefix(env, "SLIMFAAS_PORTS") {
				s.api = ""
			}
			s.launch()
			<-s.done
			if code := s.process.ProcessState.ExitCode(); code != 1 || !strings.Contains(s.out.String(), want) {
				t.Errorf("exit code %d and\n%s", code, s.out)
			}
		})
	}
}
