// Package grpc_test calls a gRPC function through a gateway, with gRPC's own client and server.
package grpc_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/sluicefaas/sluice/e2e/local"
)

// asServer makes this test's binary the function.
const asServer = "SLUICE_TEST_GRPC_SERVER"

func TestMain(m *testing.M) {
	if os.Getenv(asServer) == "" {
		os.Exit(m.Run())
	}
	listener, err := net.Listen("tcp", "127.0.0.1:"+os.Getenv("PORT"))
	if err != nil {
		panic(err)
	}
	server := grpc.NewServer()
	testgrpc.RegisterTestServiceServer(server, service{})
	if err := server.Serve(listener); err != nil {
		panic(err)
	}
}

// service answers each message with one of its size, and ends with the status that is asked for.
type service struct {
	testgrpc.UnimplementedTestServiceServer
}

func (service) UnaryCall(ctx context.Context, in *testgrpc.SimpleRequest) (*testgrpc.SimpleResponse, error) {
	if asked := in.GetResponseStatus(); asked.GetCode() != 0 {
		return nil, status.Error(codes.Code(asked.GetCode()), asked.GetMessage())
	}
	sent, _ := metadata.FromIncomingContext(ctx)
	if err := grpc.SetTrailer(ctx, metadata.Pairs("seen", strings.Join(sent.Get("mine"), ","))); err != nil {
		return nil, err
	}
	return &testgrpc.SimpleResponse{Payload: in.GetPayload()}, nil
}

func (service) FullDuplexCall(stream testgrpc.TestService_FullDuplexCallServer) error {
	for {
		in, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := stream.Send(&testgrpc.StreamingOutputCallResponse{Payload: in.GetPayload()}); err != nil {
			return err
		}
	}
}

// below puts the methods below a function's route.
type below struct {
	*grpc.ClientConn
	prefix string
}

func (b below) Invoke(ctx context.Context, method string, args, reply any, options ...grpc.CallOption) error {
	return b.ClientConn.Invoke(ctx, b.prefix+method, args, reply, options...)
}

func (b below) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, options ...grpc.CallOption) (grpc.ClientStream, error) {
	return b.ClientConn.NewStream(ctx, desc, b.prefix+method, options...)
}

const manifest = `apiVersion: apps/v1
kind: Deployment
metadata:
  name: greeter
  annotations: {sluice/Function: "true", sluice/Protocol: h2c, sluice/LocalCommand: %q}
spec:
  replicas: 0
  selector: {matchLabels: {app: greeter}}
  template:
    metadata: {labels: {app: greeter}}
    spec:
      containers:
        - name: greeter
          image: greeter
          env: [{name: %s, value: "1"}]
          ports: [{containerPort: 8080}]
`

func TestGRPCThroughTheGateway(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "greeter.yaml")
	if err := os.WriteFile(file, fmt.Appendf(nil, manifest, self, asServer), 0o600); err != nil {
		t.Fatal(err)
	}
	system := local.Start(t, file)
	conn, err := grpc.NewClient(system.Address(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	client := testgrpc.NewTestServiceClient(below{conn, "/function/greeter"})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	t.Run("a call from zero has its answer and its trailers", func(t *testing.T) { unary(ctx, t, client) })
	t.Run("a status that is an error comes back", func(t *testing.T) { failing(ctx, t, client) })
	t.Run("a stream goes both ways at the same time", func(t *testing.T) { duplex(ctx, t, client) })
}

func unary(ctx context.Context, t *testing.T, client testgrpc.TestServiceClient) {
	var trailer metadata.MD
	answer, err := client.UnaryCall(metadata.AppendToOutgoingContext(ctx, "mine", "x"),
		&testgrpc.SimpleRequest{Payload: &testgrpc.Payload{Body: []byte("hello")}}, grpc.Trailer(&trailer))
	if err != nil || string(answer.GetPayload().GetBody()) != "hello" || strings.Join(trailer.Get("seen"), "") != "x" {
		t.Errorf("got %v, trailer %v (%v)", answer, trailer, err)
	}
}

func failing(ctx context.Context, t *testing.T, client testgrpc.TestServiceClient) {
	_, err := client.UnaryCall(ctx, &testgrpc.SimpleRequest{ResponseStatus: &testgrpc.EchoStatus{Code: int32(codes.FailedPrecondition), Message: "as asked"}})
	if status.Code(err) != codes.FailedPrecondition || status.Convert(err).Message() != "as asked" {
		t.Errorf("got %v", err)
	}
}

// duplex sends each message only after the answer to the one before: nothing may wait for the end of the other direction.
func duplex(ctx context.Context, t *testing.T, client testgrpc.TestServiceClient) {
	stream, err := client.FullDuplexCall(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 200 {
		want := strings.Repeat(fmt.Sprint(i), 1+i*10)
		if err := stream.Send(&testgrpc.StreamingOutputCallRequest{Payload: &testgrpc.Payload{Body: []byte(want)}}); err != nil {
			t.Fatal(err)
		}
		answer, err := stream.Recv()
		if err != nil || string(answer.GetPayload().GetBody()) != want {
			t.Fatalf("message %d: %d bytes (%v)", i, len(answer.GetPayload().GetBody()), err)
		}
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("the end is %v", err)
	}
}
