package gateway

import (
	"bytes"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"slices"

	"github.com/sluicefaas/sluice/pkg/job"
)

var (
	// errCut says that output was read in part, and the rest of it cannot be found.
	errCut = errors.New("the rest of the output is not there any more")
	// errShort is the errCut of output that has less than what was read, and may have more the next time.
	errShort = fmt.Errorf("%w: there is less of it than what has come", errCut)
)

// maxHead bounds what is remembered of the beginning of an output, in bytes. Another output mostly shows by its first line.
const maxHead = 4 << 10

// logPlace is how far the output of a container is read.
type logPlace struct {
	pod, container string
	// start is which start of the container it is of, from 1; 0 if the output goes on from one to the next.
	start int
	// read is how many bytes of it have come, which are summed up in sum and of which head has the first, and ended that these are all; silent that they seem to be. Of them, the first skip
	// lines are not wanted: so many are left.
	read          int64
	sum           maphash.Hash
	head          []byte
	ended, silent bool
	skip          int
	// told is that older lines are missing, as the answer says.
	told bool
}

// renew begins with the output of another start.
func (p *logPlace) renew(start int) {
	*p = logPlace{pod: p.pod, container: p.container, start: start}
}

// took notes what has come, and returns what of it is wanted.
func (p *logPlace) took(text []byte) []byte {
	p.read += int64(len(text))
	_, _ = p.sum.Write(text) // never fails
	p.head = append(p.head, text[:min(len(text), maxHead-len(p.head))]...)
	for ; p.skip > 0; p.skip-- {
		end := bytes.IndexByte(text, '\n')
		if end < 0 {
			return nil
		}
		text = text[end+1:]
	}
	return text
}

// resume passes over what has come already. The error wraps errCut if that is not how this output begins, and errShort if there is less; it is never io.EOF.
func (p *logPlace) resume(from io.Reader) error {
	if err := p.resumeHead(from); err != nil {
		return err
	}
	var again maphash.Hash
	again.SetSeed(p.sum.Seed())
	_, _ = again.Write(p.head) // never fails
	switch _, err := io.CopyN(&again, from, p.read-int64(len(p.head))); {
	case errors.Is(err, io.EOF):
		return errShort
	case err != nil:
		return err
	case again.Sum64() != p.sum.Sum64():
		return p.another()
	}
	return nil
}

// resumeHead passes over the head. It does not wait for all of it: another output that still goes on may be shorter, and what it prints must not be swallowed until it is as long.
func (p *logPlace) resumeHead(from io.Reader) error {
	head := make([]byte, len(p.head))
	for read := 0; read < len(head); {
		n, err := from.Read(head[read:])
		if !bytes.Equal(head[read:read+n], p.head[read:read+n]) {
			return p.another()
		}
		read += n
		switch {
		case err == nil:
		case !errors.Is(err, io.EOF):
			return err
		case read < len(head):
			return errShort
		}
	}
	return nil
}

// another says that the output found is not the one that was read.
func (p *logPlace) another() error {
	return fmt.Errorf("%w: that of %s in pod %s does not begin as it did", errCut, p.container, p.pod)
}

// torn reports whether some of the output has come, and not its end.
func (p *logPlace) torn() bool { return p.read > 0 && !p.ended && !p.silent }

// misses reports whether output is lost when that of a later start is read next: the rest of the present one, or that of a start between the two.
func (p *logPlace) misses(start int) bool {
	return p.torn() || p.start > 0 && (p.ended || p.silent) && start > p.start+1
}

// missed says so.
func (p *logPlace) missed(start int) error {
	return fmt.Errorf("%w: %s in pod %s was at its start %d, and is at its start %d", errCut, p.container, p.pod, p.start, start)
}

// maxPassed bounds the pods that are remembered because they have been read. A record has room for far fewer.
const maxPassed = 1000

// logProgress is how far the output of a run is read: its pods one after the other, as they have begun. It decides and does nothing.
type logProgress struct {
	// container is what is asked for, empty for the main one.
	container string
	// at is what is read now. Its pod is empty before the first one and between two.
	at logPlace
	// passed are the pods that are read.
	passed []string
}

// pass ends the reading of the present pod.
func (l *logProgress) pass() {
	l.passed = append(l.passed, l.at.pod)
	l.passed = l.passed[max(0, len(l.passed)-maxPassed):]
	l.at = logPlace{}
}

// newest begins with the newest pod that has begun, and passes over the ones before it. It is false if there is none.
func (l *logProgress) newest(run job.Run) bool {
	for i, p := range slices.Backward(run.Pods) {
		if container := l.containerOf(run, p); begun(p) && container != "" {
			l.at.pod, l.at.container = p.Name, container
			for _, before := range run.Pods[:i] {
				l.passed = append(l.passed, before.Name)
			}
			return true
		}
	}
	return false
}

// choose goes on to what is to be read of a run that is not over. It is false if that is not there yet.
func (l *logProgress) choose(run job.Run) bool {
	if l.at.pod != "" {
		p, there := podOf(run, l.at.pod)
		if there && (!podOver(p) || l.unread(p)) {
			return !l.at.ended || l.at.start > 0
		}
		l.pass()
	}
	for _, p := range run.Pods {
		if container := l.containerOf(run, p); begun(p) && container != "" && !slices.Contains(l.passed, p.Name) {
			l.at.pod, l.at.container = p.Name, container
			return true
		}
	}
	return false
}

// lost reports whether the rest of what is read now went with its pod.
func (l *logProgress) lost(run job.Run) bool { return l.at.torn() && !ranIn(run, l.at.pod) }

// unread reports whether there is output of the pod, which is over, that has not come.
func (l *logProgress) unread(p job.Pod) bool {
	return !l.at.ended || l.at.start > 0 && startsOf(p, l.at.container) > l.at.start
}

// chooseKept goes on to the next part of what was kept of a run that is over. It is false if there is none.
func (l *logProgress) chooseKept(run job.Run) (part job.LogPart, found bool, err error) {
	if l.at.pod != "" {
		part, found, err = l.restOf(run)
		if found || err != nil {
			return part, found, err
		}
		l.pass()
	}
	for _, part := range run.Log {
		if l.wants(run, part) && !slices.Contains(l.passed, part.Pod) {
			l.at.pod, l.at.container = part.Pod, part.Container
			return part, true, nil
		}
	}
	return part, false, nil
}

// restOf finds the part that has the rest of what is read now, or the output of a later start.
func (l *logProgress) restOf(run job.Run) (part job.LogPart, found bool, err error) {
	i := slices.IndexFunc(run.Log, func(part job.LogPart) bool { return part.Pod == l.at.pod && part.Container == l.at.container })
	if i >= 0 {
		part = run.Log[i]
	}
	pod, _ := podOf(run, l.at.pod)
	starts := startsOf(pod, l.at.container)
	switch restarted := l.at.start > 0 && starts > l.at.start; {
	case restarted && l.at.misses(starts):
		return part, false, l.at.missed(starts)
	case i >= 0 && restarted:
		l.at.renew(starts)
		return part, true, nil
	case l.at.ended, i < 0 && (l.at.read == 0 || l.at.silent):
		return part, false, nil
	case i < 0:
		return part, false, fmt.Errorf("%w: nothing was kept", errCut)
	}
	return part, true, nil
}

// wants reports whether a part is of the container that is asked for.
func (l *logProgress) wants(run job.Run, part job.LogPart) bool {
	if l.container != "" {
		return part.Container == l.container
	}
	pod, there := podOf(run, part.Pod)
	if !there {
		return run.Container == "" || part.Container == run.Container
	}
	return l.containerOf(run, pod) == part.Container
}

// containerOf is the pod's container that is asked for, empty if it has none.
func (l *logProgress) containerOf(run job.Run, p job.Pod) string {
	if l.container == "" {
		return run.MainContainer(p)
	}
	if !slices.ContainsFunc(p.Containers, func(c job.Container) bool { return c.Name == l.container }) {
		return ""
	}
	return l.container
}

func podOf(run job.Run, name string) (job.Pod, bool) {
	i := slices.IndexFunc(run.Pods, func(p job.Pod) bool { return p.Name == name })
	if i < 0 {
		return job.Pod{}, false
	}
	return run.Pods[i], true
}

// begun reports whether the pod may have output.
func begun(p job.Pod) bool { return !p.StartedAt.IsZero() || podOver(p) || p.Phase == "Running" }

// podOver reports whether nothing of the pod runs any more, in Kubernetes' words.
func podOver(p job.Pod) bool { return p.Phase == "Succeeded" || p.Phase == "Failed" }

// startsOf is how often the container was started, as the record says, which may know less.
func startsOf(p job.Pod, container string) int {
	for _, c := range p.Containers {
		if c.Name == container {
			return c.Restarts + 1
		}
	}
	return 0
}
