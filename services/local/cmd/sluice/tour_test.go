package main

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

func TestFromZeroAndBack(t *testing.T) {
	t.Parallel()
	s := newSystem(t, map[string]string{"TimeoutSecondBeforeSetReplicasMin": "5"}) // the second call comes before that
	s.start()
	if ready, requested := s.status("f"); ready != 0 || requested != 0 {
		t.Fatalf("before the first call: ready %d, requested %d, want none", ready, requested)
	}
	status, header, body := s.send(http.MethodPost, "/function/f/?key=a", "hello")
	if status != http.StatusOK || header.Get("Sluice-Cold-Start") != "true" {
		t.Fatalf("first call: %d %v %s", status, header, body)
	}
	if values := header.Values("X-Call-Id"); len(values) != 1 {
		t.Errorf("X-Call-Id %q, want one", values)
	}
	status, header, _ = s.send(http.MethodPost, "/function/f/", "")
	if status != http.StatusOK || header.Get("Sluice-Cold-Start") != "false" {
		t.Errorf("second call: %d, cold start %q", status, header.Get("Sluice-Cold-Start"))
	}
	pid := readLedger(t, s.ledger)[0].Pid
	s.eventually(time.Minute, "the function is at zero and its process gone", func() bool {
		ready, requested := s.status("f")
		return ready == 0 && requested == 0 && !alive(pid)
	})
	_, description := s.get("/functions/f")
	for _, reason := range []string{"1 replica to start", "no call for 5s: down to 0"} {
		if !strings.Contains(description, reason) {
			t.Errorf("decisions do not say %q: %s", reason, description)
		}
	}
}

func TestALongCallIsActivity(t *testing.T) {
	t.Parallel()
	s := newSystem(t, map[string]string{"TimeoutSecondBeforeSetReplicasMin": "1"})
	s.start()
	for _, route := range []string{"/function/f/?ms=4000&key=sync", "/async-function/f/?ms=4000&key=async"} {
		if status, body := s.get(route); status >= 400 {
			t.Errorf("%s: %d %s", route, status, body)
		}
	}
	s.eventually(time.Minute, "both calls ended once", func() bool { return len(endedKeys(readLedger(t, s.ledger))) == 2 })
	starts := 0
	for _, e := range readLedger(t, s.ledger) {
		if e.Event == "start" {
			starts++
		}
	}
	if starts != 2 {
		t.Errorf("%d calls were started, want 2: %v", starts, readLedger(t, s.ledger))
	}
}

func endedKeys(entries []entry) map[string]int {
	count := map[string]int{}
	for _, e := range entries {
		if e.Event == "end" && e.Status < 400 {
			count[e.Key]++
		}
	}
	return count
}

// A message that any NATS client publishes, without JetStream and without an ack, is a call and wakes a sleeping function.
func TestStraightToNATSWakes(t *testing.T) {
	t.Parallel()
	s := newSystem(t, nil)
	s.start()
	nc, err := nats.Connect("nats://" + s.nats)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	msg := nats.NewMsg("sluice.call.f")
	msg.Header.Set("Sluice-Method", "PUT")
	msg.Header.Set("Sluice-Query", "key=nats")
	if err := nc.PublishMsg(msg); err != nil {
		t.Fatal(err)
	}
	s.eventually(time.Minute, "the call has ended", func() bool { return endedKeys(readLedger(t, s.ledger))["nats"] == 1 })
	s.eventually(time.Minute, "one replica is shown as ready", func() bool { ready, _ := s.status("f"); return ready == 1 })
}

func TestAMistakeAtStartIsASentence(t *testing.T) {
	t.Parallel()
	s := newSystem(t, nil)
	s.start()
	other := newSystem(t, nil)
	for _, c := range []struct {
		name   string
		change func(*system)
		want   string
	}{
		{"folder in use", func(o *system) { o.flags = []string{"--data", filepath.Join(s.folder, "data")} }, "--data"},
		{"API port in use", func(o *system) { o.api = s.api }, "--listen"},
		{"NATS port in use", func(o *system) { o.nats = s.nats }, "--nats-listen"},
		{"ops port in use", func(o *system) { o.ops = s.ops }, "--ops-listen"},
		{"no such manifest", func(o *system) { o.folder = filepath.Join(o.folder, "missing") }, "missing"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := *other
			o.t, o.out = t, &safeBuffer{}
			c.change(&o)
			o.launch()
			<-o.done
			if code := o.process.ProcessState.ExitCode(); code != 1 {
				t.Errorf("exit code %d, want 1", code)
			}
			if !strings.Contains(o.out.String(), "sluice: ") || !strings.Contains(o.out.String(), c.want) {
				t.Errorf("the output does not name %q:\n%s", c.want, o.out)
			}
		})
	}
}

func TestACommandThatIsNotThereIsShown(t *testing.T) {
	t.Parallel()
	s := newSystem(t, nil, "--start-wait", "2s")
	manifest, err := os.ReadFile(filepath.Join(s.folder, "f.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	binary, _ := os.Executable()
	broken := strings.ReplaceAll(string(manifest), binary, "./not-there")
	if err := os.WriteFile(filepath.Join(s.folder, "f.yaml"), []byte(broken), 0o600); err != nil {
		t.Fatal(err)
	}
	s.start()
	s.eventually(time.Minute, "a 503 names the command", func() bool { // the first one may come before it was tried
		status, header, body := s.send(http.MethodGet, "/function/f/", "")
		if status != http.StatusServiceUnavailable || header.Get("Retry-After") == "" {
			t.Fatalf("%d %v %s, want 503 with Retry-After", status, header, body)
		}
		return strings.Contains(body, "not-there")
	})
}
