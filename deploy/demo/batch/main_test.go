package main

import (
	"bytes"
	"context"
	"strings"
	"testing"
)

func TestBatchPrintsEachNumber(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args   string
		code   int
		stdout string
		stderr string // a part of it
	}{
		{"42 43", 0, "Fibonacci for 42 is 267914296\nFibonacci for 43 is 433494437\n", ""},
		{"0 1 93", 0, "Fibonacci for 0 is 0\nFibonacci for 1 is 1\nFibonacci for 93 is 12200160415121876738\n", ""},
		{"-exit 3 10", 3, "Fibonacci for 10 is 55\n", ""},
		{"-pause 1ms 10", 0, "Fibonacci for 10 is 55\n", ""},
		{"", 0, "", ""},
		{"-help", 0, "", "usage: batch"},
		{"10 94", exitUsage, "", `argument "94" must be a whole number from 0 to 93`},
		{"10 x", exitUsage, "", `argument "x" must be`},
		{"-pause x 10", exitUsage, "", "invalid value"},
	} {
		var stdout, stderr bytes.Buffer
		if code := run(t.Context(), strings.Fields(c.args), &stdout, &stderr); code != c.code || stdout.String() != c.stdout || !strings.Contains(stderr.String(), c.stderr) {
			t.Errorf("batch %s: exit code %d, stdout %q, stderr %q", c.args, code, &stdout, &stderr)
		}
	}
}

func TestBatchEndsWhenItIsTold(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var stdout, stderr bytes.Buffer
	if code := run(ctx, []string{"-pause", "1h", "10"}, &stdout, &stderr); code != exitInterrupted || stdout.Len() > 0 {
		t.Errorf("exit code %d, stdout %q", code, &stdout)
	}
}
