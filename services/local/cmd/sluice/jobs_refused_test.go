package main

import (
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// shownJob is a definition as the API shows it.
type shownJob struct {
	Name, Refused string
	Problems      []string
}

var insideAddress = regexp.MustCompile(`inside +(http://\S+)`)

// fromInside is a request to the inside address, as from a child.
func (s *system) fromInside(method, path string) (status int, body string) {
	s.t.Helper()
	var address []string
	s.eventually(30*time.Second, "the greeting has the inside address", func() bool {
		address = insideAddress.FindStringSubmatch(s.out.String())
		return address != nil
	})
	request, err := http.NewRequestWithContext(s.t.Context(), method, address[1]+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

// insideJobs are the definitions as callers from inside see them, by name.
func (s *system) insideJobs() map[string]shownJob {
	s.t.Helper()
	var all []shownJob
	if status, body := s.fromInside(http.MethodGet, "/jobs"); status != http.StatusOK || json.Unmarshal([]byte(body), &all) != nil {
		s.t.Fatalf("GET /jobs: %d %s", status, body)
	}
	byName := map[string]shownJob{}
	for _, one := range all {
		byName[one.Name] = one
	}
	return byName
}

// What is refused, by the manifest or as a pattern that processes do not have, says why to those inside, and nothing runs. It is used as soon as it is right; what was good stays.
func TestRefusedJobsOfTheLocalMode(t *testing.T) {
	t.Parallel()
	s := newSystem(t, nil)
	for _, name := range []string{"indexed", "awake", "mended", "good"} {
		s.writeJob(name, "", `"print=x"`)
	}
	const playable, pattern = "backoffLimit: 0", "completionMode: Indexed\n      completions: 2"
	s.edit("job-indexed.yaml", playable, pattern)
	s.edit("job-awake.yaml", "suspend: true", "suspend: false")
	s.edit("job-mended.yaml", playable, "backofLimit: 0")
	s.start()
	for name, why := range map[string]string{
		"indexed": "completionMode Indexed is not there in the local mode",
		"awake":   "makes no job of a CronJob that is not suspended",
		"mended":  "there is no such field, did you mean backoffLimit?",
	} {
		if got := s.insideJobs()[name].Refused; !strings.Contains(got, why) {
			t.Errorf("%s is refused because of %q, want %s", name, got, why)
		}
		if status, body := s.fromInside(http.MethodPost, "/job/"+name); status != http.StatusNotFound || !strings.Contains(body, why) {
			t.Errorf("%s answers those inside %d %s", name, status, body)
		}
		if status, body := s.do(http.MethodPost, "/job/"+name, ""); status != http.StatusNotFound || strings.Contains(body, why) {
			t.Errorf("%s answers those outside %d %s", name, status, body)
		}
		if _, body := s.get("/jobs"); strings.Contains(body, name) {
			t.Errorf("those outside see %s", body)
		}
	}
	connection, err := nats.Connect("nats://" + s.nats)
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	if _, err := connection.RequestMsg(&nats.Msg{Subject: "sluice.job.indexed", Data: []byte(`{"runId":"by-nats"}`)}, 10*time.Second); err != nil {
		t.Fatal(err)
	}
	s.edit("job-mended.yaml", "backofLimit: 0", playable)
	s.eventually(30*time.Second, "it is used", func() bool { d, there := s.insideJobs()["mended"]; return there && d.Refused == "" })
	s.jobIs("mended", s.runJob("mended", ""), "Succeeded")
	s.edit("job-good.yaml", playable, pattern)
	s.eventually(30*time.Second, "what is refused of it is told", func() bool {
		d := s.insideJobs()["good"]
		return d.Refused == "" && strings.Contains(strings.Join(d.Problems, " "), "as it was before holds: completionMode Indexed")
	})
	s.jobIs("good", s.runJob("good", ""), "Succeeded")
	if status, body := s.fromInside(http.MethodGet, "/jobs/indexed/runs/by-nats"); status != http.StatusNotFound {
		t.Errorf("a refused job has the run %s", body)
	}
}
