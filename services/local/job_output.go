package local

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
)

const (
	outputSuffix = ".log"
	olderSuffix  = ".log.1" // the half before that
	// maxOutput is how much of a pod's output is kept, in bytes; the oldest is dropped, one half of it at a time.
	maxOutput = 10 << 20
)

// podOutput is what the processes of a pod write, one after the other, kept in two files: the newer half, and the one before.
type podOutput struct {
	root *os.Root
	pod  string
	half int64 // bytes of a file

	mu     sync.Mutex
	file   *os.File // guarded by mu; nil while no process writes
	size   int64    // guarded by mu; of file
	halves int      // guarded by mu; how many files came before this one
	failed error    // guarded by mu; why nothing is kept any more
	ended  bool     // guarded by mu; no process of the pod comes any more
	// grown is closed when something was written, nil while nobody waits for that. Guarded by mu.
	grown chan struct{}
}

func newPodOutput(root *os.Root, pod string, limit int64) *podOutput {
	return &podOutput{root: root, pod: pod, half: limit / 2}
}

// resume goes on where an earlier process of the pod has stopped.
func (o *podOutput) resume() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.failed = nil
	return o.open(os.O_APPEND)
}

// open is called with mu held.
func (o *podOutput) open(how int) error {
	file, err := o.root.OpenFile(o.pod+outputSuffix, os.O_WRONLY|os.O_CREATE|how, 0o600)
	if err != nil {
		return fmt.Errorf("open the output of pod %s: %w", o.pod, err)
	}
	info, err := file.Stat()
	if err != nil {
		return errors.Join(fmt.Errorf("look at the output of pod %s: %w", o.pod, err), file.Close())
	}
	o.file, o.size = file, info.Size()
	return nil
}

// Write implements io.Writer. What does not fit the disk is dropped: the process goes on, and the error is told at close.
func (o *podOutput) Write(text []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.file == nil || o.failed != nil {
		return len(text), nil
	}
	if o.size > 0 && o.size+int64(len(text)) > o.half {
		o.failed = o.turn()
	}
	if o.failed == nil {
		var n int
		n, o.failed = o.file.Write(text)
		o.size += int64(n)
	}
	o.wake()
	return len(text), nil
}

// turn begins the next file. It is called with mu held.
func (o *podOutput) turn() error {
	err := errors.Join(o.file.Close(), o.root.Rename(o.pod+outputSuffix, o.pod+olderSuffix))
	if err == nil {
		err = o.open(os.O_TRUNC)
	}
	o.halves++
	return err
}

// wake is called with mu held.
func (o *podOutput) wake() {
	if o.grown != nil {
		close(o.grown)
		o.grown = nil
	}
}

// end ends the output for who follows it.
func (o *podOutput) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ended = true
	o.wake()
}

// close ends the output of a process. The error says why some of it was not kept.
func (o *podOutput) close() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	err := o.failed
	if o.file != nil {
		if closed := o.file.Close(); err == nil && !errors.Is(closed, fs.ErrClosed) {
			err = closed
		}
	}
	o.file = nil
	if err != nil {
		return fmt.Errorf("keep the output of pod %s: %w", o.pod, err)
	}
	return nil
}

// outputOf is the output of a pod of the Job. It is called with the Job's mutex held.
func (c *JobCluster) outputOf(j *localJob, pod string) *podOutput {
	output := j.outputs[pod]
	if output != nil {
		return output
	}
	output = newPodOutput(c.store.root, pod, c.config.maxOutput)
	if output.ended = j.over(pod); !output.ended {
		j.outputs[pod] = output
	}
	return output
}

// endOutputs ends those of the pods that are over. It is called with the mutex held.
func (j *localJob) endOutputs() {
	for pod, output := range j.outputs {
		if j.over(pod) {
			output.end()
			delete(j.outputs, pod)
		}
	}
}

// over reports whether no process of the pod comes any more. It is called with the mutex held.
func (j *localJob) over(pod string) bool {
	p := j.record.pod(pod)
	return j.removed || p == nil || p.Phase == podSucceeded || p.Phase == podFailed
}
