package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

const composeFile = "../../../../deploy/compose.yaml"

// compose is what the test reads of deploy/compose.yaml.
type compose struct {
	Services map[string]struct {
		Build       struct{ Context, Dockerfile string }
		Image       string
		Environment map[string]string
	}
}

// The environment that deploy/compose.yaml gives to sluice, with the containers played by processes on loopback.
func TestComposeFile(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(composeFile)
	if err != nil {
		t.Fatal(err)
	}
	var file compose
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	sluice := file.Services["sluice"]
	if _, err := os.Stat(filepath.Join(filepath.Dir(composeFile), sluice.Build.Context, sluice.Build.Dockerfile)); err != nil {
		t.Error(err)
	}
	var mocks struct{ Functions []map[string]any }
	if err := json.Unmarshal([]byte(sluice.Environment["MOCK_KUBERNETES_FUNCTIONS"]), &mocks); err != nil || len(mocks.Functions) != 2 {
		t.Fatalf("%v %v", mocks, err)
	}
	for _, f := range mocks.Functions {
		name := fmt.Sprint(f["Name"])
		container, found := file.Services[name]
		if want := "http://{function_name}:" + container.Environment["PORT"]; !found || sluice.Environment["BASE_FUNCTION_URL"] != want {
			t.Errorf("function %s: there is a container: %v, and it is called at %s, want %s", name, found, sluice.Environment["BASE_FUNCTION_URL"], want)
		}
		f["Port"] = elsewhere(t, name)
	}
	played, err := json.Marshal(mocks)
	if err != nil {
		t.Fatal(err)
	}
	s := newSystem(t, nil)
	_, port, _ := net.SplitHostPort(s.api)
	s.api = ""
	for name, value := range sluice.Environment {
		switch name {
		case "SLIMFAAS_PORTS":
			value = port
		case "BASE_FUNCTION_URL":
			value = "http://127.0.0.1:{pod_port}"
		case "MOCK_KUBERNETES_FUNCTIONS":
			value = string(played)
		default:
			t.Errorf("%s is not played", name)
		}
		s.env = append(s.env, name+"="+value)
	}
	s.launch()
	s.api = "127.0.0.1:" + port
	s.eventually(30*time.Second, "sluice is ready", func() bool { status, _ := s.get("/ready"); return status == http.StatusOK })
	if status, body := s.get("/function/fibonacci1/hello/guillaume"); status != http.StatusOK || !strings.HasPrefix(body, "fibonacci1 GET") {
		t.Errorf("%d %s", status, body)
	}
	if status, body := s.get("/function/fibonacci4/hello/guillaume"); status != http.StatusNotFound {
		t.Errorf("private: %d %s", status, body)
	}
}
