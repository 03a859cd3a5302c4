// Command batch is a demo job: it prints a Fibonacci number for each of its arguments and ends.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"
)

// Exit codes beside those that -exit asks for.
const (
	exitUsage       = 2
	exitInterrupted = 143 // 128 and SIGTERM, as a shell has it
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is the whole program; it returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("batch", flag.ContinueOnError)
	flags.SetOutput(stderr)
	pause := flags.Duration("pause", 0, "wait so long before each number, such as 2s")
	exit := flags.Int("exit", 0, "end with this exit code")
	flags.Usage = func() {
		_, _ = fmt.Fprintln(stderr, "usage: batch [-pause 2s] [-exit 3] N…")
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return 0
	} else if err != nil {
		return exitUsage
	}
	numbers, err := parse(flags.Args())
	if err != nil {
		_, _ = fmt.Fprintln(stderr, err)
		return exitUsage
	}
	for _, n := range numbers {
		if !wait(ctx, *pause) {
			_, _ = fmt.Fprintln(stderr, "told to end")
			return exitInterrupted
		}
		_, _ = fmt.Fprintf(stdout, "Fibonacci for %d is %d\n", n, fibonacci(n))
	}
	return *exit
}

// maxInput is the largest whose Fibonacci number fits 64 bits.
const maxInput = 93

// parse reads all arguments first, so that a wrong one stops the job before it has printed anything.
func parse(args []string) ([]int, error) {
	var numbers []int
	for _, arg := range args {
		n, err := strconv.Atoi(arg)
		if err != nil || n < 0 || n > maxInput {
			return nil, fmt.Errorf("argument %q must be a whole number from 0 to %d", arg, maxInput)
		}
		numbers = append(numbers, n)
	}
	return numbers, nil
}

func wait(ctx context.Context, pause time.Duration) bool {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func fibonacci(n int) uint64 {
	a, b := uint64(0), uint64(1)
	for range n {
		a, b = b, a+b
	}
	return a
}
