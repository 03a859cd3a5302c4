package main

import (
	"io"
	"net/http"
	"strings"
	"time"
)

// single is one call to make, for which the whole answer is wanted.
type single struct {
	Method         string            `json:"method"`
	URL            string            `json:"url"`
	Header         map[string]string `json:"header"`
	Body           string            `json:"body"`
	TimeoutSeconds float64           `json:"timeoutSeconds"`
}

// singleAnswer is its end. Error is empty if there was an answer.
type singleAnswer struct {
	Status int         `json:"status"`
	Header http.Header `json:"header"`
	Body   string      `json:"body"`
	Error  string      `json:"error"`
	Start  time.Time   `json:"start"`
	End    time.Time   `json:"end"`
}

// one makes one call over a connection of its own.
func one(w http.ResponseWriter, r *http.Request) {
	var s single
	if !readJSON(w, r, &s) {
		return
	}
	if s.TimeoutSeconds <= 0 {
		s.TimeoutSeconds = 60
	}
	request, err := http.NewRequestWithContext(r.Context(), s.Method, s.URL, strings.NewReader(s.Body))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	for key, value := range s.Header {
		request.Header.Set(key, value)
	}
	client := &http.Client{
		Timeout:   time.Duration(s.TimeoutSeconds * float64(time.Second)),
		Transport: &http.Transport{DisableKeepAlives: true},
	}
	answer(w, do(client, request))
}

func do(client *http.Client, request *http.Request) singleAnswer {
	a := singleAnswer{Start: time.Now()}
	response, err := client.Do(request)
	if err != nil {
		a.Error, a.End = err.Error(), time.Now()
		return a
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxBody))
	if err != nil {
		a.Error = err.Error()
	}
	a.Status, a.Header, a.Body, a.End = response.StatusCode, response.Header, string(body), time.Now()
	return a
}
