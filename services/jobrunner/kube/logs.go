package kube

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/utils/ptr"

	"github.com/sluicefaas/sluice/pkg/kube"
	"github.com/sluicefaas/sluice/services/jobrunner"
)

// logTimeout bounds the wait for the answer to a request for output, which the API server passes on to the node, and of output that is not followed each read.
const logTimeout = 30 * time.Second

// Logs implements jobrunner.Cluster.
func (c *Cluster) Logs(ctx context.Context, pod, container string, tail int, follow bool) (io.ReadCloser, error) { //nolint:revive // the interface has five arguments
	options := &corev1.PodLogOptions{Container: container, Follow: follow}
	if tail > 0 {
		options.TailLines = ptr.To(int64(tail))
	}
	ctx, cancel := context.WithCancelCause(c.client.WithLog(ctx))
	late := time.AfterFunc(logTimeout, func() { cancel(errLate) })
	stream, err := c.client.core.Pods(c.Namespace()).GetLogs(pod, options).Stream(ctx)
	late.Stop()
	switch {
	case err == nil:
		return &output{stream: stream, cancel: cancel, late: late, follow: follow}, nil
	case apierrors.IsNotFound(err), apierrors.IsBadRequest(err): // no such pod or node, no such container, or it has not started
		err = fmt.Errorf("%w: %w", jobrunner.ErrNoOutput, err)
	case errors.Is(context.Cause(ctx), errLate):
		err = errLate
	}
	cancel(nil)
	return nil, fmt.Errorf("read the output of %s in pod %s: %w", kube.Cut(container, maxDetail), pod, err)
}

var errLate = errors.New("the node does not answer")

// output is what a container has written. Who reads it is one goroutine.
type output struct {
	stream io.ReadCloser
	cancel context.CancelCauseFunc
	// late ends a read that takes too long.
	late   *time.Timer
	follow bool
}

// Read implements io.Reader.
func (o *output) Read(p []byte) (int, error) {
	if !o.follow {
		o.late.Reset(logTimeout)
		defer o.late.Stop()
	}
	return o.stream.Read(p)
}

// Close implements io.Closer.
func (o *output) Close() error {
	defer o.cancel(nil)
	return o.stream.Close()
}
