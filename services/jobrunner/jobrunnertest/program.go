package jobrunnertest

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// Program is what the container of the suite's Jobs does, one argument after the other: a number prints a line with its Fibonacci number, sleep=<duration> waits, exit=<code> ends. It returns the
// exit code, or 143 as soon as ctx ends. A test runs it in a process or in a goroutine; e2e/function does the same in a container.
func Program(ctx context.Context, args []string, out io.Writer) (code int) {
	const terminated, misused = 143, 2
	for _, arg := range args {
		word, value, _ := strings.Cut(arg, "=")
		switch word {
		case "sleep":
			length, err := time.ParseDuration(value)
			if err != nil {
				return misused
			}
			select {
			case <-time.After(length):
			case <-ctx.Done():
				return terminated
			}
		case "exit":
			if code, err := strconv.Atoi(value); err == nil {
				return code
			}
			return misused
		default:
			n, err := strconv.Atoi(word)
			if err != nil {
				return misused
			}
			_, _ = fmt.Fprintln(out, line(n))
		}
	}
	return 0
}

// line is what Program prints for a number.
func line(n int) string {
	a, b := 0, 1
	for range n {
		a, b = b, a+b
	}
	return fmt.Sprintf("Fibonacci for %d is %d", n, a)
}
