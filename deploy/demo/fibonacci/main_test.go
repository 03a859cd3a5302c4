package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestFibonacci(t *testing.T) {
	server := httptest.NewServer(handler())
	defer server.Close()
	for _, c := range []struct {
		method, path, body string
		status             int
		answer             string
	}{
		{"POST", "/fibonacci", `{"input":10}`, 200, `{"result":55}` + "\n"},
		{"POST", "/fibonacci", `{"input":0}`, 200, `{"result":0}` + "\n"},
		{"POST", "/fibonacci", `{"input":93}`, 200, `{"result":12200160415121876738}` + "\n"},
		{"POST", "/fibonacci", `{"input":94}`, 400, ""},
		{"POST", "/fibonacci", `{"input":-1}`, 400, ""},
		{"POST", "/fibonacci", `{}`, 400, ""},
		{"POST", "/fibonacci", `ten`, 400, ""},
		{"POST", "/fibonacci", strings.Repeat(" ", 1<<20+1), 413, ""},
		{"GET", "/fibonacci", "", 405, ""},
		{"GET", "/hello/Ada", "", 200, "Hello Ada!"},
		{"GET", "/hello/a%20b", "", 200, "Hello a b!"},
		{"GET", "/nothing", "", 404, ""},
	} {
		request, err := http.NewRequest(c.method, server.URL+c.path, strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		response, err := server.Client().Do(request)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		_ = response.Body.Close()
		if err != nil || response.StatusCode != c.status || c.answer != "" && string(body) != c.answer {
			t.Errorf("%s %s: %d %q (%v)", c.method, c.path, response.StatusCode, body, err)
		}
	}
}
