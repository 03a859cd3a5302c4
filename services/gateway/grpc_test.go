package gateway

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/sluicefaas/sluice/pkg/upstream"
)

// message is one of gRPC: a flag, the length and the bytes.
func message(text string) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(text))), text...)
}

func readMessage(from io.Reader) (string, error) {
	head := make([]byte, 5)
	if _, err := io.ReadFull(from, head); err != nil {
		return "", err
	}
	text := make([]byte, binary.BigEndian.Uint32(head[1:]))
	_, err := io.ReadFull(from, text)
	return string(text), err
}

// grpcServer answers each message with itself, and says in the trailer how it ended; /Refuse has no message at all.
func grpcServer(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/grpc")
	if r.ProtoMajor != 2 || r.Header.Get("Te") != "trailers" || r.Header.Get("Content-Type") != "application/grpc" {
		w.WriteHeader(http.StatusTeapot)
		return
	}
	if r.URL.Path == "/echo.Echo/Refuse" {
		w.Header().Set("Grpc-Status", "16") // a head that is the end too
		return
	}
	_ = http.NewResponseController(w).Flush()
	for {
		text, err := readMessage(r.Body)
		if err != nil {
			break
		}
		_, _ = w.Write(message("echo " + text))
		_ = http.NewResponseController(w).Flush()
	}
	w.Header().Set(http.TrailerPrefix+"Grpc-Status", "0")
	w.Header().Set(http.TrailerPrefix+"Grpc-Message", "fine")
}

// grpcCall begins a call as a client of gRPC does.
func (f *fixture) grpcCall(client *http.Client, path string, body io.Reader) *http.Response {
	f.t.Helper()
	r := must(http.NewRequestWithContext(f.t.Context(), http.MethodPost, f.url(path), body))(f.t)
	r.Header.Set("Te", "trailers")
	r.Header.Set("Content-Type", "application/grpc")
	answer := must(client.Do(r))(f.t)
	f.t.Cleanup(func() { _ = answer.Body.Close() })
	return answer
}

// TestGRPC: unary calls, streams both ways at the same time, and an answer that has no body, through the gateway to a function that speaks HTTP/2.
func TestGRPC(t *testing.T) {
	f := start(t)
	f.serveH2C("echo", grpcServer)
	client := http2Client(t)

	unary := f.grpcCall(client, "/function/echo/echo.Echo/Once", bytes.NewReader(message("hello")))
	if text, err := readMessage(unary.Body); err != nil || text != "echo hello" || unary.ProtoMajor != 2 {
		t.Errorf("unary: %q, %v, %s", text, err, unary.Status)
	}
	if _, err := readMessage(unary.Body); !errors.Is(err, io.EOF) || unary.Trailer.Get("Grpc-Status") != "0" || unary.Trailer.Get("Grpc-Message") != "fine" {
		t.Errorf("unary ended with %v, %v", err, unary.Trailer)
	}

	body, out := io.Pipe()
	stream := f.grpcCall(client, "/function/echo/echo.Echo/Chat", body)
	for i := range 50 {
		text := strings.Repeat(fmt.Sprint(i), i*20)
		if _, err := out.Write(message(text)); err != nil {
			t.Fatal(err)
		}
		if got, err := readMessage(stream.Body); err != nil || got != "echo "+text {
			t.Fatalf("message %d: %d bytes, %v", i, len(got), err)
		}
	}
	_ = out.Close()
	if rest, err := io.ReadAll(stream.Body); err != nil || len(rest) > 0 || stream.Trailer.Get("Grpc-Status") != "0" {
		t.Errorf("the stream ended with %q, %v, %v", rest, err, stream.Trailer)
	}

	refused := f.grpcCall(client, "/function/echo/echo.Echo/Refuse", bytes.NewReader(message("x")))
	if rest, err := io.ReadAll(refused.Body); err != nil || len(rest) > 0 || refused.Header.Get("Grpc-Status") != "16" || refused.StatusCode != http.StatusOK {
		t.Errorf("refused: %s %q, %v, %v", refused.Status, rest, err, refused.Header)
	}
}

// TestGRPCStartsAFunction: the call is held, its messages too, until there is a replica.
func TestGRPCStartsAFunction(t *testing.T) {
	f := start(t)
	f.put(state("echo"))
	body, out := io.Pipe()
	answered := make(chan *http.Response, 1)
	go func() { answered <- f.grpcCall(http2Client(t), "/function/echo/echo.Echo/Chat", body) }()
	_, _ = out.Write(message("early"))
	f.held("echo", 1)
	f.serveH2C("echo", grpcServer)
	answer := wait(t, "the answer", answered)
	if text, err := readMessage(answer.Body); err != nil || text != "echo early" {
		t.Errorf("%q, %v", text, err)
	}
	_ = out.Close()
	if _, err := io.ReadAll(answer.Body); err != nil || answer.Trailer.Get("Grpc-Status") != "0" {
		t.Errorf("%v, %v", err, answer.Trailer)
	}
}

// TestGRPCAsync: a unary call is queued as it came, and attempted over HTTP/2.
func TestGRPCAsync(t *testing.T) {
	f := start(t)
	f.serveH2C("echo", grpcServer)
	answer := f.grpcCall(http2Client(t), "/async-function/echo/echo.Echo/Once", bytes.NewReader(message("hello")))
	if answer.StatusCode != http.StatusAccepted || answer.Header.Get("X-Call-Id") == "" {
		t.Fatalf("%s", answer.Status)
	}
	call := f.fetch("echo", 1)[0].Call
	transport := upstream.NewTransport()
	defer transport.CloseIdleConnections()
	result := upstream.NewCaller(transport).Do(t.Context(), f.functions.get("echo").state.Load().Endpoints[0], upstream.Request{
		Method: call.Method, Path: call.Path, Header: call.Header, Body: call.Body, Timeout: testPatience,
	})
	if result.Kind != upstream.None || result.Status != http.StatusOK || string(result.Body) != string(message("echo hello")) {
		t.Errorf("%+v", result)
	}
}
