package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func try(t *testing.T, url, id string, number int) int {
	t.Helper()
	request, err := http.NewRequest(http.MethodPost, url, strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("SlimFaas-Element-Id", id)
	request.Header.Set("SlimFaas-Try-Number", fmt.Sprint(number))
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	return response.StatusCode
}

func attempts(t *testing.T, server *httptest.Server, id string) []attempt {
	t.Helper()
	response, err := server.Client().Get(server.URL + "/attempts?id=" + id)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	var list []attempt
	if err := json.NewDecoder(response.Body).Decode(&list); err != nil {
		t.Fatal(err)
	}
	return list
}

func TestFlakyFailsThenSucceeds(t *testing.T) {
	server := httptest.NewServer(newFlaky())
	defer server.Close()
	for _, c := range []struct {
		id, query string
		want      []int
	}{
		{"a", "", []int{500, 200, 200}},
		{"b", "fail=2&status=503", []int{503, 503, 200}},
		{"c", "fail=0", []int{200}},
		{"", "fail=1&status=404", []int{404, 200}},
		{strings.Repeat("i", 201), "", []int{400}},
		{"d", "status=200", []int{400}},
		{"e", "fail=100", []int{400}},
	} {
		for i, want := range c.want {
			if got := try(t, server.URL+"/any?"+c.query, c.id, i); got != want {
				t.Errorf("%s, try %d: got %d, want %d", c.id, i, got, want)
			}
		}
	}
	list := attempts(t, server, "b")
	if len(list) != 3 || list[0].Status != 503 || list[2].Status != 200 || list[2].TryNumber != "2" || list[0].At.IsZero() {
		t.Errorf("attempts of b: %+v", list)
	}
	if list := attempts(t, server, "nobody"); list == nil || len(list) != 0 {
		t.Errorf("attempts of a call that never came: %+v", list)
	}
}

func TestFlakyForgetsTheOldest(t *testing.T) {
	f := newFlaky()
	for i := range maxCalls + 5 {
		f.record(fmt.Sprint(i), attempt{}, 0, 500)
	}
	for range 2 * maxAttempts {
		f.record("often", attempt{}, 0, 500)
	}
	if len(f.attempts) != maxCalls || len(f.order) != maxCalls || len(f.list("0")) != 0 || len(f.list("often")) != maxAttempts {
		t.Errorf("%d calls, %d in order, %d attempts", len(f.attempts), len(f.order), len(f.list("often")))
	}
}
