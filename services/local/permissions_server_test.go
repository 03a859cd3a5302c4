package local

import (
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/sluicefaas/sluice/pkg/bus/bustest"
)

// natsAccounts are the accounts and users of the chart's NATS server, as the chart renders them: e2e/natsperm holds that it does.
//
//go:embed testdata/nats-accounts.conf
var natsAccounts string

// permissionUsers are the services that have one.
var permissionUsers = []string{"gateway", "dispatcher", "scaler", "jobrunner"}

func passwordOf(user string) string { return "p4ssword" + user }

// guarded is a NATS server that admits the chart's users alone, and notes what each of them publishes and subscribes to.
type guarded struct {
	t       *testing.T
	folder  string
	port    int
	running *server.Server
	seen    *traffic
}

func startGuarded(t *testing.T) *guarded {
	for _, user := range append([]string{"client"}, permissionUsers...) {
		t.Setenv("SLUICE_"+strings.ToUpper(user)+"_PASSWORD", passwordOf(user))
	}
	g := &guarded{t: t, folder: t.TempDir(), port: bustest.FreePort(t), seen: newTraffic()}
	g.start()
	t.Cleanup(g.stop)
	return g
}

func (g *guarded) start() {
	g.t.Helper()
	config := fmt.Sprintf("%s\njetstream: { store_dir: %q }\n", natsAccounts, g.folder)
	file := filepath.Join(g.folder, "nats.conf")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		g.t.Fatal(err)
	}
	options, err := server.ProcessConfigFile(file)
	if err != nil {
		g.t.Fatal(err)
	}
	options.Host, options.Port, options.NoSigs = "127.0.0.1", g.port, true
	if g.running, err = server.NewServer(options); err != nil {
		g.t.Fatal(err)
	}
	g.running.SetLoggerV2(g.seen, false, true, false)
	g.running.Start()
	if !g.running.ReadyForConnections(patience) {
		g.t.Fatal("the NATS server does not serve")
	}
}

func (g *guarded) stop() {
	g.running.Shutdown()
	g.running.WaitForShutdown()
}

// lose restarts the server without one of its streams, which no user may delete.
func (g *guarded) lose(stream string) {
	g.t.Helper()
	g.stop()
	folder := filepath.Join(g.folder, "jetstream", "SLUICE", "streams", stream)
	if _, err := os.Stat(folder); err != nil {
		g.t.Fatal(err)
	}
	if err := os.RemoveAll(folder); err != nil {
		g.t.Fatal(err)
	}
	g.start()
}

func (g *guarded) url() string { return fmt.Sprintf("nats://127.0.0.1:%d", g.port) }

// traffic is a server's log that keeps what clients ask for, by the name of their connection.
type traffic struct {
	pattern *regexp.Regexp

	mu         sync.Mutex
	published  map[string]map[string]bool // guarded by mu
	subscribed map[string]map[string]bool // guarded by mu
}

func newTraffic() *traffic {
	return &traffic{
		pattern:    regexp.MustCompile(`"[^"]*:go:([a-z]+)".* <<- \[(PUB|HPUB|SUB) (\S+)`),
		published:  map[string]map[string]bool{},
		subscribed: map[string]map[string]bool{},
	}
}

// Tracef implements server.Logger: a line for each operation of a client.
func (l *traffic) Tracef(format string, v ...any) {
	if !strings.HasSuffix(format, "<<- %s") { // not what a client asks for
		return
	}
	found := l.pattern.FindStringSubmatch(fmt.Sprintf(format, v...))
	if found == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	of := l.published
	if found[2] == "SUB" {
		of = l.subscribed
	}
	if of[found[1]] == nil {
		of[found[1]] = map[string]bool{}
	}
	of[found[1]][strings.TrimSuffix(found[3], "]")] = true
}

// has reports whether a user has published to a subject.
func (l *traffic) has(user, subject string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.published[user][subject]
}

// Noticef implements server.Logger, as do the others.
func (l *traffic) Noticef(string, ...any) {}
func (l *traffic) Warnf(string, ...any)   {}
func (l *traffic) Errorf(string, ...any)  {}
func (l *traffic) Fatalf(string, ...any)  {}
func (l *traffic) Debugf(string, ...any)  {}

// used reports whether a user has published within a pattern.
func (g *guarded) used(user, pattern string) bool {
	g.seen.mu.Lock()
	defer g.seen.mu.Unlock()
	return anyWithin(g.seen.published[user], pattern)
}

// unused returns the subjects that the server permits a user, and that it has not used.
func (g *guarded) unused(user string) (subjects []string) {
	g.seen.mu.Lock()
	defer g.seen.mu.Unlock()
	for _, u := range g.options().Users {
		if u.Username != user {
			continue
		}
		for _, subject := range u.Permissions.Publish.Allow {
			if !anyWithin(g.seen.published[user], subject) {
				subjects = append(subjects, "publish "+subject)
			}
		}
		for _, subject := range u.Permissions.Subscribe.Allow {
			if !anyWithin(g.seen.subscribed[user], subject) {
				subjects = append(subjects, "subscribe "+subject)
			}
		}
	}
	return subjects
}

// expectAllUsed waits, because some things are done only now and then.
func (g *guarded) expectAllUsed(user string) {
	g.t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); len(g.unused(user)) > 0; <-tick.C {
		if time.Now().After(deadline) {
			g.t.Errorf("%s is permitted what it does not need: %q", user, g.unused(user))
			return
		}
	}
}

func (g *guarded) options() *server.Options {
	options, err := server.ProcessConfigFile(filepath.Join(g.folder, "nats.conf"))
	if err != nil {
		g.t.Fatal(err)
	}
	return options
}

// anyWithin reports whether one of the subjects is in a pattern.
func anyWithin(subjects map[string]bool, pattern string) bool {
	words := strings.Split(pattern, ".")
	for subject := range subjects {
		if within(strings.Split(subject, "."), words) {
			return true
		}
	}
	return false
}

// within reports whether a subject is in a pattern of NATS.
func within(subject, pattern []string) bool {
	if n := len(pattern) - 1; pattern[n] == ">" {
		if len(subject) <= n {
			return false
		}
		subject, pattern = subject[:n], pattern[:n]
	}
	return slices.EqualFunc(subject, pattern, func(s, p string) bool { return p == "*" || s == p })
}
