package jobrunner

import (
	"cmp"
	"context"
	"encoding/json"
	"io"
	"slices"
	"time"

	"github.com/sluicefaas/sluice/pkg/job"
)

const (
	// maxFollowed bounds the containers whose output is followed, and followedBytes what is kept of each.
	maxFollowed   = 256
	followedBytes = 64 << 10
)

// outputKey names a container of a pod.
type outputKey struct{ pod, container string }

// output is what is kept of a container's output while it runs. Pods that Kubernetes restarts in place (restartPolicy OnFailure) are deleted when the Job's back-off limit is hit,
// with their output.
type output struct {
	text *tail
	// stop ends the helper that follows, which is at work while following; restarts is how often the container had been restarted when it began.
	stop      context.CancelFunc
	following bool
	restarts  int
	// dropped says that nobody wants it any more.
	dropped bool
}

// followedOutput is an output that was followed.
type followedOutput struct {
	key  outputKey
	text *tail
}

// followOutputs begins to follow the output of the run's pods that would be lost with them.
func (r *Runner) followOutputs(t *tracked) {
	if !t.known || t.object == nil || t.run.Logs.Save == saveNever || t.run.Logs.Save == "" || t.object.End != "" || !restartsInPlace(t) {
		return
	}
	for _, pod := range t.object.Pods {
		if pod.Phase != "Running" {
			continue
		}
		for _, c := range pod.Containers {
			r.followOutput(t, outputKey{pod.Name, c.Name}, c)
		}
	}
}

func (r *Runner) followOutput(t *tracked, k outputKey, c job.Container) {
	o := t.outputs[k]
	switch {
	case o == nil && r.following >= maxFollowed, o != nil && (o.following || c.Restarts <= o.restarts), c.ExitCode != nil && c.Init:
		return
	case o == nil:
		o = &output{text: newTail(min(followedBytes, t.run.Logs.MaxBytes))}
		if t.outputs == nil {
			t.outputs = map[outputKey]*output{}
		}
		t.outputs[k] = o
	}
	o.following, o.restarts = true, c.Restarts
	r.following++
	r.follows = append(r.follows, follow{k, o})
}

// follow is an output that is to be followed.
type follow struct {
	key outputKey
	*output
}

// startFollows lets a helper each follow an output.
func (r *Runner) startFollows(ctx context.Context) {
	for _, f := range r.follows {
		if f.dropped {
			r.following--
			continue
		}
		ctx, stop := context.WithCancel(ctx)
		f.stop = stop
		r.helpers.Go(func() {
			err := r.copyOutput(ctx, f.key, f.text)
			stop()
			r.do(func(time.Time) {
				r.following--
				f.following = false
				if err != nil {
					f.restarts-- // once more, with the next news of the pod
				}
			})
		})
	}
	r.follows = r.follows[:0]
}

func (r *Runner) copyOutput(ctx context.Context, k outputKey, to io.Writer) error {
	from, err := r.deps.Cluster.Logs(ctx, k.pod, k.container, 0, true)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = from.Close() })() // so that the copy ends
	defer func() { _ = from.Close() }()
	_, err = io.Copy(to, from)
	return err
}

// outputsOf is what was followed of the run.
func (r *Runner) outputsOf(t *tracked) (all []followedOutput) {
	for k, o := range t.outputs {
		all = append(all, followedOutput{k, o.text})
	}
	slices.SortFunc(all, func(a, b followedOutput) int {
		return cmp.Or(cmp.Compare(a.key.pod, b.key.pod), cmp.Compare(a.key.container, b.key.container))
	})
	return all
}

// stopOutputs ends that.
func (r *Runner) stopOutputs(t *tracked) {
	for _, o := range t.outputs {
		o.dropped = true
		if o.stop != nil {
			o.stop()
		}
	}
	t.outputs = nil
}

// restartsInPlace reports whether the run's pods are restarted in place.
func restartsInPlace(t *tracked) bool {
	if t.inPlace == nil {
		var spec struct {
			Spec struct {
				Template struct {
					Spec struct {
						RestartPolicy string `json:"restartPolicy"`
					} `json:"spec"`
				} `json:"template"`
			} `json:"spec"`
		}
		inPlace := json.Unmarshal(t.run.Spec, &spec) == nil && spec.Spec.Template.Spec.RestartPolicy == "OnFailure"
		t.inPlace = &inPlace
	}
	return *t.inPlace
}
