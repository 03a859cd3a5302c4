package jobrunner

import (
	"context"
	"encoding/json"
	"errors"
	"io"

	"github.com/sluicefaas/sluice/pkg/job"
)

// Errors of a Cluster, wrapped with what was being done. Any other error says nothing about what has happened, and the request is repeated.
var (
	// ErrExists says that there is a Job of that name.
	ErrExists = errors.New("there is a Job of that name already")
	// ErrInvalid says that the Job is refused for good, with Kubernetes' own words around it.
	ErrInvalid = errors.New("the Job is refused")
	// ErrQuota says that the namespace may have no further Job for now.
	ErrQuota = errors.New("the namespace's quota has no room for another Job")
	// ErrChanged says that the Job is not as it was when it was looked at.
	ErrChanged = errors.New("the Job has changed")
	// ErrNoOutput says that there is no output of that container, and that there will be none or not yet.
	ErrNoOutput = errors.New("there is no output")
)

// Cluster is where jobs run: Kubernetes, or the processes of the local mode.
type Cluster interface {
	// Watch reports every definition, every Job that we have made and every workload that a job may depend on, then each change, until ctx ends; it returns after its own
	// goroutines have. It calls the observer from one goroutine.
	Watch(ctx context.Context, observer Observer) error
	// Get reads the Job as the API server has it at this moment, never from a cache; nil if there is none.
	Get(ctx context.Context, name string) (*job.Object, error)
	// Create makes the Job that job.Manifest describes.
	Create(ctx context.Context, manifest json.RawMessage) (*job.Object, error)
	// Check asks whether Create would be refused, and makes nothing.
	Check(ctx context.Context, manifest json.RawMessage) error
	// Resume lets the Job run, and makes it Resumed. It is refused with ErrChanged unless the Job has that UID and version.
	Resume(ctx context.Context, name, uid, version string) (*job.Object, error)
	// Arm gives the Job with that UID its TTL. It is no error if the Job is gone.
	Arm(ctx context.Context, name, uid string, ttl int32) error
	// Delete begins to delete the Job with that UID, and all of its pods before it. It is no error if it is gone. With a version, empty for any, it is refused with ErrChanged
	// unless the Job is of that version.
	Delete(ctx context.Context, name, uid, version string) error
	// Complain tells whoever looks at what the definition is made of that it is refused, with a sentence that says so. It does not wait.
	Complain(d job.Definition, sentence string)
	// Logs reads the output of one container of a pod, from the last tail lines on (0 for all); with follow until the container has ended.
	Logs(ctx context.Context, pod, container string, tail int, follow bool) (io.ReadCloser, error)
	// Namespace is that of the Jobs.
	Namespace() string
}

// Observer is told what a Cluster sees. Its methods do not block for long.
type Observer interface {
	// Define reports a definition as it is now, also one that cannot be read and is Refused, and Undefine that it is gone.
	Define(job.Definition)
	Undefine(name string)
	// LastDefinition is a definition as an earlier leader has shared it, if it was in use. It may be called from any goroutine.
	LastDefinition(name string) (job.Definition, bool)
	// Observe reports a Job of ours as it is now, with its pods, and Forget that it is gone.
	Observe(job.Object)
	Forget(name, uid string)
	// Workload reports how many replicas of a Deployment or StatefulSet are ready, and whether that is of its newest generation; WorkloadGone that there is none. The name has the kind
	// before it, as in StatefulSet/mysql.
	Workload(name string, ready int, current bool)
	WorkloadGone(name string)
	// Synced reports, once, that everything that existed at the start has been told.
	Synced()
}
