package main

import (
	"encoding/json"
	"image/png"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// start serves a replica of the function whose API is the replica itself, with the routes of a gateway in front of it.
func start(t *testing.T, name string) (*httptest.Server, chan string) {
	t.Helper()
	said := make(chan string, 10)
	var d *demo
	gateway := http.NewServeMux()
	gateway.HandleFunc("/function/{name}/", func(w http.ResponseWriter, r *http.Request) {
		http.StripPrefix("/function/"+r.PathValue("name"), d.routes()).ServeHTTP(w, r)
	})
	gateway.HandleFunc("POST /publish-event/{event}/{path}", func(w http.ResponseWriter, r *http.Request) {
		said <- r.PathValue("event") + " " + r.PathValue("path")
		w.WriteHeader(http.StatusNoContent)
	})
	gateway.HandleFunc("POST /async-function-callback/{name}/{id}/{word}", func(_ http.ResponseWriter, r *http.Request) {
		said <- r.PathValue("name") + " " + r.PathValue("id") + " " + r.PathValue("word")
	})
	gateway.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { d.routes().ServeHTTP(w, r) })
	server := httptest.NewServer(gateway)
	t.Cleanup(server.Close)
	d = newDemo(server.URL, name)
	return server, said
}

func ask(t *testing.T, method, url, body string) (int, http.Header, string) {
	t.Helper()
	request, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("SlimFaas-Element-Id", "id-1")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, response.Header, string(text)
}

func TestRoutes(t *testing.T) {
	server, said := start(t, "fibonacci1")
	for _, c := range []struct {
		method, path, body string
		status             int
		answer             string
	}{
		{"GET", "/hello/Ada", "", 200, "Hello Ada!"},
		{"POST", "/fibonacci", `{"input":10}`, 200, `{"result":55}`},
		{"POST", "/fibonacci", `{}`, 400, ""},
		{"POST", "/fibonacci-recursive", `{"input":6}`, 200, `{"result":8,"numberCall":15}`},
		{"POST", "/fibonacci-recursive", `{"input":21}`, 400, ""},
		{"POST", "/fibonacci4", `{"input":11}`, 200, `{"result":55}`},
		{"POST", "/send-private-fibonacci-event", `{"input":7}`, 204, ""},
		{"POST", "/compute", `{"a":1}`, 200, `{"state":"processing","runningRequests":1,"finishedRequests":0}`},
		{"GET", "/error", "", 500, ""},
		{"GET", "/nothing", "", 404, ""},
	} {
		status, _, answer := ask(t, c.method, server.URL+c.path, c.body)
		if status != c.status || c.answer != "" && strings.TrimSpace(answer) != c.answer {
			t.Errorf("%s %s: %d %q", c.method, c.path, status, answer)
		}
	}
	if got := <-said; got != "fibo-private fibonacci" {
		t.Errorf("the event was %q", got)
	}
}

func TestDownloadIsAPicture(t *testing.T) {
	server, _ := start(t, "fibonacci1")
	status, header, body := ask(t, "GET", server.URL+"/download", "")
	if _, err := png.Decode(strings.NewReader(body)); err != nil || status != 200 || header.Get("Content-Type") != "image/png" {
		t.Errorf("%d %v: %v", status, header, err)
	}
}

func TestComputeWithCallback(t *testing.T) {
	server, said := start(t, "fibonacci1")
	for body, word := range map[string]string{`{"a":1}`: "success", ` {} `: "error"} {
		status, header, answer := ask(t, "POST", server.URL+"/computeWithCallback?seconds=0.01", body)
		var p progress
		if err := json.Unmarshal([]byte(answer), &p); err != nil || status != 202 || p.ElementID != "id-1" || header.Get("SlimFaas-Element-Id") != "id-1" || p.State != "processing" {
			t.Errorf("%d %v %q (%v)", status, header, answer, err)
		}
		select {
		case got := <-said:
			if got != "fibonacci1 id-1 "+word {
				t.Errorf("the callback was %q", got)
			}
		case <-time.After(5 * time.Second):
			t.Fatal("no callback")
		}
	}
}

func TestSeenIsBounded(t *testing.T) {
	server, _ := start(t, "fibonacci3")
	var failed atomic.Int32
	for range maxEvents + 5 {
		if status, _, _ := ask(t, "POST", server.URL+"/fibonacci", `{"input":3}`); status != 200 {
			failed.Add(1)
		}
	}
	_, _, answer := ask(t, "GET", server.URL+"/seen", "")
	var events []event
	if err := json.Unmarshal([]byte(answer), &events); err != nil || len(events) != maxEvents || events[0].Input != 3 || events[0].ID != "id-1" || failed.Load() > 0 {
		t.Errorf("%d events, %d failed (%v)", len(events), failed.Load(), err)
	}
}
