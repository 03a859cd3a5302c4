package ops_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/sluicefaas/sluice/pkg/ops"
)

func newServer(addr string) *ops.Server {
	return ops.NewServer(ops.ServerConfig{Name: "test", Addr: addr, Flag: "--listen", Handler: http.NotFoundHandler(), Logger: zerolog.Nop()})
}

func TestListenOnAUsedPortSaysWhatToDo(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	_, port, _ := net.SplitHostPort(taken.Addr().String())
	want := "port " + port + " on 127.0.0.1 is in use by another process: stop it or choose another with --listen"
	server := newServer(taken.Addr().String())
	if err := server.Listen(t.Context()); err == nil || err.Error() != want || !errors.Is(err, ops.ErrPortInUse) {
		t.Errorf("Listen: %v", err)
	}
	if err := server.Run(context.Background(), context.Background()); err == nil || err.Error() != want {
		t.Errorf("Run: %v", err)
	}
	if server.Addr() != nil {
		t.Error("an address without a listener")
	}
}

func TestListenRefusesWhatIsNoAddress(t *testing.T) {
	for _, addr := range []string{"5000", "127.0.0.1", "127.0.0.1:99999", "203.0.113.1:0", "127.0.0.1:http2go"} {
		err := newServer(addr).Listen(t.Context())
		if err == nil || !strings.Contains(err.Error(), `--listen "`+addr+`"`) {
			t.Errorf("%s: %v", addr, err)
		}
	}
}
