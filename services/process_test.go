package services_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sluicefaas/sluice/pkg/bus/bustest"
)

// patience bounds every wait of these tests. After an outage of the API server, Kubernetes's own controllers may take a minute.
const patience = 2 * time.Minute

// process is one running service, or this test's binary in a part of its own.
type process struct {
	t       testing.TB
	service string
	// program is the path of the binary. variable is what the part is to be told, NAME=value; empty for a service.
	program, variable string
	args              []string
	// ops is host:port of the ops server, api that of the gateway.
	ops, api string
	command  *exec.Cmd
	out      *safeBuffer
	done     chan struct{} // closed when it has ended
	err      error         // of its end; read after done
}

// start starts a service that finds NATS at natsURL, on ports of its own; it ends with the test.
func start(t testing.TB, service, natsURL string, args ...string) *process {
	t.Helper()
	p := &process{t: t, service: service, program: binary(t, service), ops: freeAddress(t), out: &safeBuffer{}}
	p.args = append([]string{"--nats=" + natsURL, "--ops-listen=" + p.ops, "--drain-delay=0s"}, args...)
	if service == "gateway" {
		p.api = freeAddress(t)
		p.args = append(p.args, "--listen="+p.api)
	}
	p.begin()
	return p
}

// startPart starts this test's binary, in which TestMain does what the variable asks for; it ends with the test.
func startPart(t testing.TB, name, variable, value string) *process {
	t.Helper()
	p := &process{t: t, service: name, program: os.Args[0], variable: variable + "=" + value, out: &safeBuffer{}}
	p.begin()
	return p
}

func (p *process) begin() {
	p.t.Helper()
	p.launch()
	p.t.Cleanup(func() {
		p.kill()
		if p.t.Failed() {
			p.t.Logf("output of %s:\n%s", p.service, p.out)
		}
	})
}

// launch starts the process, also after its end.
func (p *process) launch() {
	p.t.Helper()
	p.command = exec.Command(p.program, p.args...)
	p.command.Env = cleanEnvironment()
	if p.variable != "" {
		p.command.Env = append(p.command.Env, p.variable)
		if _, err := p.command.StdinPipe(); err != nil { // its end is ours: see playPart
			p.t.Fatal(err)
		}
	}
	p.command.Stdout, p.command.Stderr = p.out, p.out
	p.command.WaitDelay = 10 * time.Second
	if err := p.command.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.done = make(chan struct{})
	go func() { p.err = p.command.Wait(); close(p.done) }()
}

// kill ends the process with SIGKILL and waits for its end.
func (p *process) kill() {
	_ = p.command.Process.Kill()
	<-p.done
}

func (p *process) terminate() {
	p.t.Helper()
	if err := p.command.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
}

// exited waits for the end and returns the exit code.
func (p *process) exited() int {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(patience):
		p.t.Fatalf("%s does not end", p.service)
	}
	return p.command.ProcessState.ExitCode()
}

// readiness waits until /ready has the status, and returns the answer's body.
func (p *process) readiness(status int) (body string) {
	p.t.Helper()
	eventually(p.t, p.service+" answers /ready as it should", func() bool {
		select {
		case <-p.done:
			p.t.Fatalf("%s ended: %v", p.service, p.err)
		default:
		}
		got := send(p.t, http.MethodGet, "http://"+p.ops+"/ready", "")
		body = got.body
		return got.status == status
	})
	return body
}

// answer is that of an HTTP request; status 0 means that there was none.
type answer struct {
	status int
	header http.Header
	body   string
}

// client keeps no connection, so that every request shows whether a process takes new ones.
var client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}

func send(t testing.TB, method, url, body string) answer {
	t.Helper()
	request, err := http.NewRequestWithContext(context.Background(), method, url, strings.NewReader(body))
	if err != nil {
		t.Error(err)
		return answer{}
	}
	response, err := client.Do(request)
	if err != nil {
		return answer{body: err.Error()}
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return answer{body: err.Error()}
	}
	return answer{response.StatusCode, response.Header, string(text)}
}

func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !condition(); <-time.After(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", patience, what)
		}
	}
}

func freeAddress(t testing.TB) string {
	t.Helper()
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(bustest.FreePort(t)))
}

// safeBuffer is a buffer that a process writes while the test reads.
type safeBuffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer // guarded by mu
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.String()
}
