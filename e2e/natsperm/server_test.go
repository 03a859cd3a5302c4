package natsperm

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// users are those of the chart; route is the servers' own.
var users = []string{"gateway", "dispatcher", "scaler", "jobrunner", "client"}

// passwordOf is such a one as the chart makes: a letter first, then letters and digits.
func passwordOf(user string) string { return "x7" + user + "0123456789abcdef" }

// setPasswords puts them where the configuration has them from.
func setPasswords(t *testing.T) {
	t.Helper()
	for _, user := range append([]string{"route"}, users...) {
		t.Setenv("SLUICE_"+strings.ToUpper(user)+"_PASSWORD", passwordOf(user))
	}
}

// parse reads a rendered configuration as the server does.
func parse(t *testing.T, config, pod string) *server.Options {
	t.Helper()
	t.Setenv("POD_NAME", pod)
	file := filepath.Join(t.TempDir(), "nats.conf")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	options, err := server.ProcessConfigFile(file)
	if err != nil {
		t.Fatalf("%v in\n%s", err, config)
	}
	return options
}

// start starts a server with the configuration, but for its addresses and folder.
func start(t *testing.T, options *server.Options) *server.Server {
	t.Helper()
	options.Host, options.Port, options.NoSigs, options.NoLog = "127.0.0.1", server.RANDOM_PORT, true, true
	options.HTTPHost, options.HTTPPort = "127.0.0.1", server.RANDOM_PORT
	options.StoreDir, options.SyncAlways = t.TempDir(), false // the machine's disk is not what is tested
	running, err := server.NewServer(options)
	if err != nil {
		t.Fatal(err)
	}
	running.Start()
	t.Cleanup(func() {
		running.Shutdown()
		running.WaitForShutdown()
	})
	if !running.ReadyForConnections(patience) {
		t.Fatal("the NATS server does not serve")
	}
	return running
}

// single starts one server as the chart configures it.
func single(t *testing.T, values ...string) *server.Server {
	t.Helper()
	setPasswords(t)
	return start(t, parse(t, renderConfig(t, append([]string{"nats.replicas=1"}, values...)...), "sluice-nats-0"))
}

// login is a connection of one user, and what the server has refused on it.
type login struct {
	*nats.Conn
	t *testing.T

	mu      sync.Mutex
	refused []string // guarded by mu
}

// connect logs in as the user; prefix is that of the installation.
func connect(t *testing.T, url, user, prefix string) *login {
	t.Helper()
	l := &login{t: t}
	conn, err := nats.Connect(url, nats.UserInfo(user, passwordOf(user)), nats.Timeout(patience),
		nats.CustomInboxPrefix("_INBOX."+prefix+"."+user), nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { l.note(err) }))
	if err != nil {
		t.Fatalf("log in as %s: %v", user, err)
	}
	t.Cleanup(conn.Close)
	l.Conn = conn
	return l
}

func (l *login) note(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	text := err.Error()
	if _, quoted, found := strings.Cut(text, ` to "`); found && errors.Is(err, nats.ErrPermissionViolation) {
		kind := "publish "
		if strings.Contains(text, "for Subscription") {
			kind = "subscribe "
		}
		subject, _, _ := strings.Cut(quoted, `"`) // a queue's name may follow
		text = kind + subject
	}
	l.refused = append(l.refused, text)
}

// refusals does something and returns what the server has refused of it. The server answers in order, so all of that has arrived when
// the last thing, which is surely refused, has been.
func (l *login) refusals(do func()) map[string]bool {
	l.t.Helper()
	l.mu.Lock()
	l.refused = nil
	l.mu.Unlock()
	do()
	last := fmt.Sprintf("no.such.subject.%d", time.Now().UnixNano())
	if err := l.Publish(last, nil); err != nil {
		l.t.Fatal(err)
	}
	refused := map[string]bool{}
	eventually(l.t, "the server has answered", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		n := len(l.refused)
		if n == 0 || l.refused[n-1] != "publish "+last {
			return false
		}
		for _, what := range l.refused[:n-1] {
			refused[what] = true
		}
		return true
	})
	return refused
}
