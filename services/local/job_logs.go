package local

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"

	"github.com/sluicefaas/sluice/services/jobrunner"
)

// podLog reads the output of a pod: what is kept of it, then, while it is followed, what comes, until no process of the pod comes any more.
type podLog struct {
	output *podOutput
	follow bool
	files  []*os.File // still to be read, the oldest first
	halves int        // of the last one of files
	read   int64      // of files[0]

	stop    context.CancelFunc
	stopped <-chan struct{}
	closing sync.Mutex // Close may come while Read waits
	closed  bool       // guarded by closing, as the files are while they are being closed
}

// errDropped says that output was dropped before it was read.
var errDropped = errors.New("the output was dropped before it was read: more came than is kept")

// openPodLog reads from the last tail lines on, 0 for all. The error wraps jobrunner.ErrNoOutput if there is nothing.
func openPodLog(ctx context.Context, output *podOutput, tail int, follow bool) (*podLog, error) {
	l := &podLog{output: output, follow: follow}
	if err := l.openFiles(); err != nil {
		return nil, err
	}
	if len(l.files) == 0 {
		return nil, fmt.Errorf("output of pod %s: %w", output.pod, jobrunner.ErrNoOutput)
	}
	if tail > 0 {
		if err := l.seek(tail); err != nil {
			l.closeFiles()
			return nil, err
		}
	}
	ctx, l.stop = context.WithCancel(ctx)
	l.stopped = ctx.Done()
	return l, nil
}

// openFiles opens both files of one moment.
func (l *podLog) openFiles() error {
	l.output.mu.Lock()
	defer l.output.mu.Unlock()
	for _, suffix := range []string{olderSuffix, outputSuffix} {
		file, err := l.output.root.Open(l.output.pod + suffix)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			l.closeFiles()
			return fmt.Errorf("open the output of pod %s: %w", l.output.pod, err)
		}
		l.files = append(l.files, file)
	}
	l.halves = l.output.halves
	return nil
}

// seek goes to the last lines. A line may go on in the next file, and the last one may be without its end.
func (l *podLog) seek(lines int) error {
	total := 0
	var last lineEnds
	for _, file := range l.files {
		var err error
		if last, err = findLineEnds(file, 0); err != nil {
			return err
		}
		total += last.count
	}
	if last.open {
		total++
	}
	for skip := total - lines; skip > 0; {
		found, err := findLineEnds(l.files[0], skip)
		if err != nil {
			return err
		}
		if found.count >= skip {
			l.read = found.place
			break
		}
		skip -= found.count
		l.drop()
	}
	if _, err := l.files[0].Seek(l.read, io.SeekStart); err != nil {
		return fmt.Errorf("go to the last lines of pod %s: %w", l.output.pod, err)
	}
	return nil
}

// lineEnds is how many ends of lines a file has, where one of them is, and whether something comes after the last one.
type lineEnds struct {
	count int
	place int64
	open  bool
}

// findLineEnds finds the place behind the n-th end, from 1, and goes back to the start.
func findLineEnds(file *os.File, n int) (found lineEnds, err error) {
	buffer := make([]byte, 64<<10)
	for offset := int64(0); ; {
		read, err := file.Read(buffer)
		text := buffer[:read]
		before := found.count
		found.count += bytes.Count(text, []byte{'\n'})
		if read > 0 {
			found.open = text[read-1] != '\n'
		}
		if before < n && n <= found.count {
			found.place = offset + int64(behindLine(text, n-before))
		}
		offset += int64(read)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return found, fmt.Errorf("read the kept output: %w", err)
		}
	}
	_, err = file.Seek(0, io.SeekStart)
	return found, err
}

// behindLine is the place behind the n-th end of a line, which is there.
func behindLine(text []byte, n int) (place int) {
	for range n {
		place += bytes.IndexByte(text[place:], '\n') + 1
	}
	return place
}

// Read implements io.Reader.
func (l *podLog) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		n, err := l.readFile(p)
		if n > 0 || err != nil {
			return n, err
		}
		more, wait, err := l.advance()
		switch {
		case err != nil:
			return 0, err
		case more:
			continue
		case wait == nil:
			return 0, io.EOF
		}
		select {
		case <-wait:
		case <-l.stopped: // which is not the end of the output
			return 0, fmt.Errorf("read the output of pod %s: %w", l.output.pod, context.Canceled)
		}
	}
}

// readFile reads the present file; at its end it returns nothing.
func (l *podLog) readFile(p []byte) (int, error) {
	l.closing.Lock()
	defer l.closing.Unlock()
	if l.closed {
		return 0, fs.ErrClosed
	}
	n, err := l.files[0].Read(p)
	l.read += int64(n)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return n, err
}

// advance goes on to the next file if there is one. Otherwise it says what to wait for; nil if nothing comes any more.
func (l *podLog) advance() (more bool, wait <-chan struct{}, err error) {
	l.closing.Lock()
	defer l.closing.Unlock()
	if l.closed {
		return false, nil, fs.ErrClosed
	}
	if len(l.files) > 1 {
		l.drop()
		return true, nil, nil
	}
	if !l.follow {
		return false, nil, nil
	}
	o := l.output
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.halves > l.halves:
		return l.turn()
	case l.read < o.size:
		return true, nil, nil
	case o.ended:
		return false, nil, nil
	}
	if o.grown == nil {
		o.grown = make(chan struct{})
	}
	return false, o.grown, nil
}

// turn goes on with the file that came after this one, once this one is read. It is called with the mutex of the output held. The error is errDropped for who reads too slowly: what he has
// missed must not be missing in silence.
func (l *podLog) turn() (more bool, wait <-chan struct{}, err error) {
	if info, err := l.files[0].Stat(); err == nil && l.read < info.Size() {
		return true, nil, nil
	}
	var next []*os.File
	names := []string{outputSuffix}
	switch behind := l.output.halves - l.halves; {
	case behind > 2:
		return false, nil, fmt.Errorf("read the output of pod %s: %w", l.output.pod, errDropped)
	case behind == 2:
		names = []string{olderSuffix, outputSuffix}
	}
	for _, suffix := range names {
		file, err := l.output.root.Open(l.output.pod + suffix)
		if errors.Is(err, fs.ErrNotExist) { // the pod is gone with its output
			err = errDropped
		}
		if err != nil {
			closeAll(next)
			return false, nil, fmt.Errorf("open the output of pod %s: %w", l.output.pod, err)
		}
		next = append(next, file)
	}
	l.closeFiles()
	l.files, l.halves, l.read = next, l.output.halves, 0
	return true, nil, nil
}

func (l *podLog) drop() {
	_ = l.files[0].Close()
	l.files, l.read = l.files[1:], 0
}

func (l *podLog) closeFiles() {
	closeAll(l.files)
	l.files = nil
}

// Whole says that the output of one process of the pod goes on with that of the next.
func (l *podLog) Whole() {}

// Close ends the reading, also while Read waits.
func (l *podLog) Close() error {
	l.stop()
	l.closing.Lock()
	defer l.closing.Unlock()
	l.closed = true
	l.closeFiles()
	return nil
}
