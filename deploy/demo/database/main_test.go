package main

import (
	"context"
	"io"
	"net"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestDatabaseGreetsAndEnds(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- serve(ctx, listener) }()
	connection, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	greeted := make([]byte, len(greeting))
	if _, err := io.ReadFull(connection, greeted); err != nil || string(greeted) != greeting {
		t.Errorf("got %q (%v)", greeted, err)
	}
	stop() // with the connection open
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if _, err := connection.Read(greeted); err == nil {
		t.Error("the connection is still open")
	}
	_ = connection.Close()
}
