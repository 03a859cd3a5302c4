package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// batch is a job. Each argument is a number, whose Fibonacci number is printed, sleep=<duration>, or exit=<code>.
func batch(ctx context.Context, args []string) error {
	for _, arg := range args {
		if err := step(ctx, arg); err != nil {
			return err
		}
	}
	return nil
}

func step(ctx context.Context, arg string) error {
	word, value, _ := strings.Cut(arg, "=")
	switch word {
	case "sleep":
		length, err := time.ParseDuration(value)
		if err != nil {
			return fmt.Errorf("argument %q: %w", arg, err)
		}
		select {
		case <-time.After(length):
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	case "exit":
		code, err := strconv.Atoi(value)
		if err != nil {
			return fmt.Errorf("argument %q: %w", arg, err)
		}
		os.Exit(code)
	}
	n, err := strconv.Atoi(arg)
	if err != nil {
		return fmt.Errorf("argument %q: want a number, sleep=<duration> or exit=<code>", arg)
	}
	a, b := 0, 1
	for range n {
		a, b = b, a+b
	}
	_, err = fmt.Printf("Fibonacci for %d is %d\n", n, a)
	return err
}
