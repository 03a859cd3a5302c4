package tour

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// HTTPGateway is a Gateway at a URL.
type HTTPGateway struct {
	URL    string
	Client *http.Client
}

// maxAnswer bounds what is read of an answer, in bytes.
const maxAnswer = 16 << 20

// Send implements Gateway.
func (g HTTPGateway) Send(ctx context.Context, call Call) (Answer, error) {
	request, err := http.NewRequestWithContext(ctx, call.Method, g.URL+call.Path, strings.NewReader(call.Body))
	if err != nil {
		return Answer{}, err
	}
	for name, value := range call.Header {
		request.Header.Set(name, value)
	}
	response, err := g.Client.Do(request)
	if err != nil {
		return Answer{}, err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return Answer{}, fmt.Errorf("read the answer: %w", err)
	}
	return Answer{Status: response.StatusCode, Header: response.Header, Body: body}, nil
}
