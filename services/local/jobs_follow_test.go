package local

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Who asks for the output of a run at once gets all of it, over its pods and the processes that are started again in one of them, as it is printed.
func TestOutputIsFollowedOverFailures(t *testing.T) {
	t.Parallel()
	for _, policy := range []string{"Never", "OnFailure"} {
		folder := t.TempDir()
		release := filepath.Join(folder, "release")
		body := strings.NewReplacer("image: x", fmt.Sprintf("image: x, env: [{name: %s, value: job}], args: [%q, print=begun, %q, %q, print=done]",
			testMode, "ledger="+folder+"/starts", "await="+release, "failures="+folder+"/starts,2"), "Never", policy).Replace("      backoffLimit: 5\n" + jobBody)
		s := newSystem(t, cronJob("j", `sluice/Job: "true", sluice/DefaultVisibility: Public, sluice/LocalCommand: `+quoted(executable(t)), body))
		s.start()
		eventually(t, "a run is accepted", func() bool {
			status, _ := s.ask(http.MethodPost, "/job/j", `{"runId":"r"}`)
			return status == http.StatusAccepted
		})
		response, err := s.client.Get("http://" + s.api + "/jobs/j/runs/r/logs?follow=true")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = response.Body.Close() }()
		output := bufio.NewReader(response.Body)
		if line, err := output.ReadString('\n'); err != nil || line != "begun\n" || response.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s %q, %v", policy, response.Status, line, err)
		}
		if err := os.WriteFile(release, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		rest, err := io.ReadAll(output)
		if err != nil || string(rest) != "begun\nbegun\ndone\n" {
			t.Errorf("%s: %q, %v", policy, rest, err)
		}
		status, text := s.ask(http.MethodGet, "/jobs/j/runs/r", "")
		var run struct{ Pods, Log []json.RawMessage }
		pods := map[string]int{"Never": 3, "OnFailure": 1}[policy]
		if err := json.Unmarshal([]byte(text), &run); err != nil || len(run.Pods) != pods || len(run.Log) != pods {
			t.Errorf("%s: what was kept when it ended is %d %s, %v", policy, status, text, err)
		}
	}
}

// A run that is over before its output could be followed is followed all the same.
func TestOutputOfShortRunsIsFollowed(t *testing.T) {
	t.Parallel()
	body := strings.Replace(jobBody, "image: x", fmt.Sprintf("image: x, env: [{name: %s, value: job}], args: [print=1, print=2]", testMode), 1)
	s := newSystem(t, cronJob("j", `sluice/Job: "true", sluice/DefaultVisibility: Public, sluice/LocalCommand: `+quoted(executable(t)), body))
	s.start()
	for i := range 10 {
		id := fmt.Sprintf("r%d", i)
		eventually(t, "a run is accepted", func() bool {
			status, _ := s.ask(http.MethodPost, "/job/j", fmt.Sprintf(`{"runId":%q}`, id))
			return status == http.StatusAccepted
		})
		if status, text := s.ask(http.MethodGet, "/jobs/j/runs/"+id+"/logs?follow=true", ""); status != http.StatusOK || text != "1\n2\n" {
			t.Errorf("%s: %d %q", id, status, text)
		}
	}
}
