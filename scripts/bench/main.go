// Command bench measures Sluice beside bare implementations of the same work, in turn on the same machine, and prints
// ratios: they hold on another machine where the absolute numbers do not. docs/benchmarks.md says what each one means.
//
// It starts everything itself, on loopback and in a temporary folder: the real `sluice local` as a process, and its own
// binary again (see roles) for the bare implementations, the backends and the functions.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

// settings are the flags.
type settings struct {
	only    string
	rounds  int
	seconds float64
	calls   int
	runs    int
	profile string
	binary  string
}

// overallLimit ends a run that hangs.
const overallLimit = 15 * time.Minute

func main() {
	if len(os.Args) > 2 && os.Args[1] == childArgument {
		exitOn(runRole(os.Args[2], os.Args[3:]))
		return
	}
	// A reader of the output who leaves must not end us before our children have.
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGPIPE)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, overallLimit)
	defer cancel()
	exitOn(run(ctx, readFlags()))
}

func exitOn(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func readFlags() settings {
	var s settings
	flag.StringVar(&s.only, "only", "", "measure only what is named, commas between: "+strings.Join(names(), ", "))
	flag.IntVar(&s.rounds, "rounds", 5, "how often each side is measured, in turn")
	flag.Float64Var(&s.seconds, "seconds", 0.75, "seconds of load in each round of accept and sync")
	flag.IntVar(&s.calls, "calls", 20_000, "queued calls in each round of delivery")
	flag.IntVar(&s.runs, "runs", 24, "starts of each kind of coldstart")
	flag.StringVar(&s.profile, "profile", "", "folder for profiles of sluice, of CPU and of allocations, for each round under load")
	flag.StringVar(&s.binary, "sluice", "", "the sluice to measure, if not one that is built from this source")
	flag.Parse()
	return s
}

// measurements are what can be named by -only, in the order in which they run.
var measurements = []struct {
	name string
	run  func(context.Context, *bench) error
}{
	{"accept", measureAccept},
	{"delivery", measureDelivery},
	{"coldstart", measureColdStart},
	{"sync", measureSync},
}

func names() []string {
	all := make([]string, 0, len(measurements))
	for _, m := range measurements {
		all = append(all, m.name)
	}
	return all
}

// check refuses settings that would measure nothing.
func (s settings) check() error {
	if s.rounds < 1 || s.rounds > 1000 || s.runs < 1 || s.runs > 1000 {
		return errors.New("-rounds and -runs must be from 1 to 1000")
	}
	if s.seconds < 0.1 || s.seconds > 60 || s.calls < 1000 || s.calls > 1_000_000 {
		return errors.New("-seconds must be from 0.1 to 60 and -calls from 1000 to 1000000")
	}
	for _, name := range s.chosen() {
		if !slices.Contains(names(), name) {
			return fmt.Errorf("-only %q: known are %s", name, strings.Join(names(), ", "))
		}
	}
	return nil
}

func (s settings) chosen() []string {
	if s.only == "" {
		return names()
	}
	return strings.Split(s.only, ",")
}

func run(ctx context.Context, s settings) (err error) {
	if err := s.check(); err != nil {
		return err
	}
	b, err := newBench(ctx, s)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	start := time.Now()
	for _, m := range measurements {
		if !slices.Contains(s.chosen(), m.name) {
			continue
		}
		fmt.Printf("## %s\n", m.name)
		if err := m.run(ctx, b); err != nil {
			return fmt.Errorf("measure %s: %w", m.name, err)
		}
		fmt.Println()
	}
	b.printTable(os.Stdout)
	fmt.Printf("\nTook %v.\n", time.Since(start).Round(time.Second))
	return nil
}
