package main

import (
	"bufio"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func open(t *testing.T, server *httptest.Server, uri string) *http.Response {
	t.Helper()
	response, err := server.Client().Get(server.URL + uri)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = response.Body.Close() })
	return response
}

func TestEvents(t *testing.T) {
	server := httptest.NewServer(handler())
	defer server.Close()
	response := open(t, server, "/events?n=3&every=1ms")
	body, err := io.ReadAll(response.Body)
	want := "id: 1\ndata: 1\n\nid: 2\ndata: 2\n\nid: 3\ndata: 3\n\n"
	if err != nil || string(body) != want || response.Header.Get("Content-Type") != "text/event-stream" {
		t.Errorf("got %q (%v)", body, err)
	}
}

// The first event must not wait for the next one, which comes after a minute.
func TestEventsAreFlushed(t *testing.T) {
	server := httptest.NewServer(handler())
	defer server.Close()
	response := open(t, server, "/events?n=2&every=1m")
	line, err := bufio.NewReader(response.Body).ReadString('\n')
	if err != nil || line != "id: 1\n" {
		t.Errorf("got %q (%v)", line, err)
	}
	_ = response.Body.Close()
}

func TestDownload(t *testing.T) {
	server := httptest.NewServer(handler())
	defer server.Close()
	for uri, want := range map[string]int64{"/download": 1 << 20, "/download?bytes=1": 1, "/download?bytes=0": 0, "/download?bytes=100001": 100001} {
		response := open(t, server, uri)
		n, err := io.Copy(io.Discard, response.Body)
		if err != nil || n != want || response.ContentLength != -1 {
			t.Errorf("%s: %d bytes, length %d (%v)", uri, n, response.ContentLength, err)
		}
	}
}

func TestParametersAreRefused(t *testing.T) {
	server := httptest.NewServer(handler())
	defer server.Close()
	for _, uri := range []string{"/download?bytes=-1", "/events?n=x", "/events?every=1", "/events?every=2h"} {
		response := open(t, server, uri)
		body, err := io.ReadAll(response.Body)
		if err != nil || response.StatusCode != 400 || !strings.Contains(string(body), "the parameter ") {
			t.Errorf("%s: %d %q", uri, response.StatusCode, body)
		}
	}
}
