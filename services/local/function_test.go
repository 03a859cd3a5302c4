package local

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/sluicefaas/sluice/services/jobrunner/jobrunnertest"
)

// The environment of a process that this test binary plays.
const (
	testMode    = "SLUICE_TEST_MODE"
	testMark    = "SLUICE_TEST_MARK"    // a file whose existence has a meaning in some modes
	testDelay   = "SLUICE_TEST_DELAY"   // a duration
	testDataDir = "SLUICE_TEST_DATADIR" // of the mode parent
)

// facts is what a function of the tests answers.
type facts struct {
	PID        int
	Grandchild int
	Dir        string
	Args       []string
	Env        []string
	Stdin      string
}

// playFunction is the whole process in one of its modes; all but the first few serve HTTP on PORT.
func playFunction(mode string) {
	grandchild := 0
	delay, _ := time.ParseDuration(os.Getenv(testDelay))
	switch mode {
	case "parent":
		playParent()
		return
	case "job":
		playJobProcess()
		return
	case "job program":
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		os.Exit(jobrunnertest.Program(ctx, os.Args[1:], os.Stdout))
	case "system":
		playSystem()
		return
	case "job parent":
		playJobParent()
		return
	case "deaf":
		fmt.Println("waiting for the database")
		waitForSignal()
		return
	case "broken":
		for i := range 30 {
			fmt.Println("line", i)
		}
		fmt.Fprintln(os.Stderr, "cannot open /etc/secret")
		os.Exit(3)
	case "slow":
		<-time.After(delay)
	case "mortal":
		time.AfterFunc(delay, func() { os.Exit(4) })
	case "stubborn":
		signal.Ignore(syscall.SIGTERM)
	case "chatty":
		fmt.Println("to stdout")
		fmt.Fprintln(os.Stderr, "to stderr")
		fmt.Println(strings.Repeat("x", 100<<10))
		fmt.Print("the last line")
	case "forking":
		grandchild = startGrandchild(false)
	case "escaping":
		if _, err := os.Stat(os.Getenv(testMark)); err != nil { // only once
			startGrandchild(true)
		}
		os.Exit(5)
	}
	serveFacts(grandchild)
}

func waitForSignal() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	<-signals
}

// startGrandchild starts a process that ends by a signal alone and that has our output open; an escaped one leaves
// the process group.
func startGrandchild(escape bool) int {
	self, _ := os.Executable()
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), testMode+"=deaf")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: escape}
	if err := cmd.Start(); err != nil {
		panic(err)
	}
	if escape {
		_ = os.WriteFile(os.Getenv(testMark), fmt.Append(nil, cmd.Process.Pid), 0o600)
	}
	return cmd.Process.Pid
}

func serveFacts(grandchild int) {
	http.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		dir, _ := os.Getwd()
		stdin, _ := os.Readlink("/proc/self/fd/0")
		_ = json.NewEncoder(w).Encode(facts{os.Getpid(), grandchild, dir, os.Args, os.Environ(), stdin})
	})
	http.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) {
		if _, err := os.Stat(os.Getenv(testMark)); err == nil {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	if err := http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), nil); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
