// Command database is a demo of what a function depends on: it takes TCP connections, greets and says nothing more, in the place of
// a database.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

func main() {
	host := flag.String("host", "", "address to listen on, all if empty")
	flag.Parse()
	port := os.Getenv("PORT")
	if port == "" {
		port = "3306"
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if err := listen(ctx, net.JoinHostPort(*host, port)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func listen(ctx context.Context, address string) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("listen on PORT: %w", err)
	}
	fmt.Println("listening on", listener.Addr())
	return serve(ctx, listener)
}

const (
	// greeting is what each connection gets.
	greeting = "a database, in play only\n"
	// connectionTime bounds a connection.
	connectionTime = 5 * time.Second
)

// serve takes connections until ctx ends, and returns when they are over.
func serve(ctx context.Context, listener net.Listener) error {
	stop := context.AfterFunc(ctx, func() { _ = listener.Close() })
	defer stop()
	var connections sync.WaitGroup
	defer connections.Wait()
	for {
		connection, err := listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("accept: %w", err)
		}
		connections.Go(func() { greet(ctx, connection) })
	}
}

// greet writes the greeting and waits for the other side to end.
func greet(ctx context.Context, connection net.Conn) {
	stop := context.AfterFunc(ctx, func() { _ = connection.Close() })
	defer stop()
	defer func() { _ = connection.Close() }()
	_ = connection.SetDeadline(time.Now().Add(connectionTime)) // every TCP connection has deadlines
	_, _ = io.WriteString(connection, greeting)                // whoever hung up needs no greeting
	_, _ = io.Copy(io.Discard, connection)
}
