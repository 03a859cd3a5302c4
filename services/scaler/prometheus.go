package scaler

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/api"
	prometheusv1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"

	"github.com/sluicefaas/sluice/pkg/autoscale"
)

// Limits of an answer of the Prometheus server, in bytes.
const (
	maxAnswer       = 1 << 20
	maxAnswerHeader = 64 << 10
)

// maxProblem bounds what a status repeats of the server's words, in bytes.
const maxProblem = 200

// prometheusServer asks the configured server.
type prometheusServer struct {
	transport *http.Transport
	api       prometheusv1.API
}

func newPrometheusServer(url PrometheusURL) *prometheusServer {
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, MaxResponseHeaderBytes: maxAnswerHeader, MaxIdleConnsPerHost: maxQuestions, IdleConnTimeout: time.Minute,
	}
	client, _ := api.NewClient(api.Config{ // fails only for an address that is no URL, which is refused before
		Address: url.address,
		Client: &http.Client{
			Transport: limitedAnswers{transport},
			CheckRedirect: func(*http.Request, []*http.Request) error {
				return errors.New("the server redirects: set --prometheus-url to where it is")
			},
		},
	})
	return &prometheusServer{transport: transport, api: prometheusv1.NewAPI(client)}
}

func (p *prometheusServer) close() { p.transport.CloseIdleConnections() }

// ask has the server answer a query about this moment.
func (p *prometheusServer) ask(ctx context.Context, query string) autoscale.Reading {
	result, _, _, err := p.api.Query(ctx, query, time.Time{})
	if err != nil {
		return autoscale.Reading{Problem: short(fmt.Sprintf("the Prometheus server does not answer its query: %v", err))}
	}
	value, err := single(result)
	if err != nil {
		return autoscale.Reading{Problem: short(fmt.Sprintf("the answer to its query %v", err))}
	}
	return autoscale.Reading{Value: value}
}

// single makes one value of the answer to a query: several samples are summed up.
func single(result model.Value) (float64, error) {
	switch answer := result.(type) {
	case *model.Scalar:
		return float64(answer.Value), nil
	case model.Vector:
		return total(answer)
	}
	return 0, fmt.Errorf("is a %s: want a scalar or an instant vector", result.Type())
}

func total(samples model.Vector) (float64, error) {
	if len(samples) == 0 {
		return 0, errors.New("has no data")
	}
	sum := 0.0
	for _, sample := range samples {
		if sample.Histogram != nil {
			return 0, errors.New("has a histogram: want numbers")
		}
		sum += float64(sample.Value)
	}
	return sum, nil
}

func short(sentence string) string {
	if len(sentence) <= maxProblem {
		return sentence
	}
	return strings.ToValidUTF8(sentence[:maxProblem], "") + "…"
}

// limitedAnswers reads no more of an answer than what a value needs.
type limitedAnswers struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (l limitedAnswers) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := l.next.RoundTrip(request)
	if err != nil {
		return nil, fmt.Errorf("ask the server: %w", err)
	}
	response.Body = &limitedBody{ReadCloser: response.Body, left: maxAnswer}
	return response, nil
}

type limitedBody struct {
	io.ReadCloser
	left int
}

// Read implements io.Reader.
func (b *limitedBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, fmt.Errorf("the answer is longer than %d bytes", maxAnswer)
	}
	n, err := b.ReadCloser.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}
