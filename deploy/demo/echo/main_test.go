package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func ask(t *testing.T, method, url, body string) (*http.Response, answer) {
	t.Helper()
	request, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("X-Mine", "1")
	request.Host = "my.host"
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	var a answer
	if response.Header.Get("Content-Type") == "application/json" && method != http.MethodHead && response.StatusCode != http.StatusNoContent {
		if err := json.NewDecoder(response.Body).Decode(&a); err != nil {
			t.Fatal(err)
		}
	}
	return response, a
}

func TestEcho(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(echo))
	defer server.Close()
	for _, c := range []struct {
		method, uri, body string
		status            int
	}{
		{"GET", "/", "", 200},
		{"POST", "//a/../b%2Fc%3F/?u=http://x/&status=201", "hello", 201},
		{"PUT", "/?status=503", "é", 503},
		{"DELETE", "/x", "body", 200},
		{"PATCH", "/?status=302", "", 302},
		{"OPTIONS", "/", "", 200},
	} {
		response, a := ask(t, c.method, server.URL+c.uri, c.body)
		if response.StatusCode != c.status || a.Method != c.method || a.URI != c.uri || a.Body != c.body ||
			a.Host != "my.host" || a.Headers.Get("X-Mine") != "1" {
			t.Errorf("%+v: got %d, %+v", c, response.StatusCode, a)
		}
	}
	if _, a := ask(t, "POST", server.URL+"/", "\xff\x00"); a.Body != "" || string(a.BodyBase64) != "\xff\x00" {
		t.Errorf("a binary body: %+v", a)
	}
	for uri, status := range map[string]int{"/?status=204": 204, "/?status=100": 400, "/?status=x": 400, "/?delay=1h": 400} {
		if response, _ := ask(t, "GET", server.URL+uri, ""); response.StatusCode != status {
			t.Errorf("%s: got %d", uri, response.StatusCode)
		}
	}
}

func TestEchoDelays(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(echo))
	defer server.Close()
	start := time.Now()
	if ask(t, "HEAD", server.URL+"/?delay=50ms", ""); time.Since(start) < 50*time.Millisecond {
		t.Errorf("answered after %v", time.Since(start))
	}
}
