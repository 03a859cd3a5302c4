package ops_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/sluicefaas/sluice/pkg/ops"
)

func TestOpsHandler(t *testing.T) {
	server := httptest.NewServer(ops.Handler(ops.NewRegistry(), ops.NewHealth()))
	defer server.Close()
	defer http.DefaultClient.CloseIdleConnections()
	tests := []struct {
		path   string
		status int
		want   []string
	}{
		{"/metrics", 200, []string{"sluice_build_info{", `goversion="go`, "go_goroutines ", "process_open_fds ", "} 1\n"}},
		{"/health", 200, []string{`"status":"ok"`, `"checks":{}`, `"details":{}`}},
		{"/ready", 200, []string{`"status":"ok"`}},
		{"/debug/pprof/", 200, []string{"goroutine", "heap"}},
		{"/debug/pprof/goroutine?debug=1", 200, []string{"goroutine profile"}},
		{"/debug/pprof/cmdline", 200, []string{"ops.test"}},
		{"/", 200, []string{"/metrics"}},
		{"/function/x", 404, nil},
	}
	for _, test := range tests {
		response, err := http.Get(server.URL + test.path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil || response.StatusCode != test.status {
			t.Errorf("%s: %d %v", test.path, response.StatusCode, err)
		}
		for _, want := range test.want {
			if !strings.Contains(string(body), want) {
				t.Errorf("%s lacks %q", test.path, want)
			}
		}
	}
}
