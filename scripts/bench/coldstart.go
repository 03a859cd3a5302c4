package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"syscall"
	"time"

	"github.com/sluicefaas/sluice/pkg/function"
)

const (
	coldHold = 50 // ms
	// coldFunctions take turns, so that one goes back to zero while others are measured.
	coldFunctions = 8
	// coldPatience bounds one start, and one way back to zero.
	coldPatience = 30 * time.Second
)

// coldStart is the comparison of starts through sluice with a start of the process alone.
type coldStart struct {
	bench  *bench
	sluice *sluice
	news   *news
	pids   map[string]int // the last process of each function
	next   int
}

// measureColdStart compares calls to a function at zero with the time that its process takes alone, run by run.
func measureColdStart(ctx context.Context, b *bench) error {
	news, err := listenForNews(ctx)
	if err != nil {
		return err
	}
	defer news.close()
	c := &coldStart{bench: b, news: news, pids: map[string]int{}}
	if err := c.start(ctx); err != nil {
		return err
	}
	defer c.sluice.child.stop()
	var own, async, sync []float64
	for range b.settings.runs {
		for _, kind := range []struct {
			run  func(context.Context) (time.Duration, error)
			into *[]float64
		}{{c.own, &own}, {c.async, &async}, {c.sync, &sync}} {
			took, err := kind.run(ctx)
			if err != nil {
				return err
			}
			*kind.into = append(*kind.into, took.Seconds()*1000)
		}
	}
	fmt.Printf("  own start, ms   %.1f\n  async, ms       %.1f\n  sync, ms        %.1f\n", own, async, sync)
	b.addBeyond("cold start, async call at the function", async, own, coldHold)
	b.addBeyond("cold start, sync call answered", sync, own, coldHold)
	return nil
}

func (c *coldStart) start(ctx context.Context) error {
	data, err := c.bench.folder("data")
	if err != nil {
		return err
	}
	manifests := make([]manifest, 0, coldFunctions)
	for i := range coldFunctions {
		manifests = append(manifests, manifest{coldName(i), map[string]string{
			function.KeyLocalCommand: c.bench.roleCommand(roleFunction, c.news.address()),
			function.KeyTimeout:      "1",
		}})
	}
	folder, err := c.bench.writeManifests(manifests...)
	if err != nil {
		return err
	}
	c.sluice, err = c.bench.startSluice(ctx, data, folder)
	return err
}

func coldName(i int) string { return "cold" + strconv.Itoa(i) }

// asleep returns the next function, once it is at zero and its process is gone.
func (c *coldStart) asleep(ctx context.Context) (name string, err error) {
	name = coldName(c.next % coldFunctions)
	c.next++
	err = waitFor(ctx, coldPatience, func() bool {
		var status function.Status
		err := c.sluice.get(ctx, "/status-function/"+name, &status)
		return err == nil && status.NumberReady == 0 && status.NumberRequested == 0 && !c.alive(name)
	})
	if err != nil {
		return "", fmt.Errorf("wait until %s is at zero: %w", name, err)
	}
	return name, nil
}

func (c *coldStart) alive(name string) bool {
	pid := c.pids[name]
	return pid != 0 && syscall.Kill(pid, 0) == nil
}

// sync is from the send of a call to the end of its answer.
func (c *coldStart) sync(ctx context.Context) (time.Duration, error) {
	name, err := c.asleep(ctx)
	if err != nil {
		return 0, err
	}
	start := time.Now()
	if err := c.call(ctx, "/function/"+name, http.StatusOK); err != nil {
		return 0, err
	}
	took := time.Since(start)
	heard, err := c.news.next()
	c.pids[name] = heard.pid
	return took, err
}

// async is from the send of a call to the moment at which the function handles it, by the clock that both share.
func (c *coldStart) async(ctx context.Context) (time.Duration, error) {
	name, err := c.asleep(ctx)
	if err != nil {
		return 0, err
	}
	start := time.Now()
	if err := c.call(ctx, "/async-function/"+name, http.StatusAccepted); err != nil {
		return 0, err
	}
	heard, err := c.news.next()
	c.pids[name] = heard.pid
	return heard.at.Sub(start), err
}

func (c *coldStart) call(ctx context.Context, path string, want int) error {
	ctx, cancel := context.WithTimeout(ctx, coldPatience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+c.sluice.api+path, http.NoBody)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if _, err := io.Copy(io.Discard, answer.Body); err != nil {
		return err
	}
	if answer.StatusCode != want {
		return fmt.Errorf("POST %s: %s", path, answer.Status)
	}
	return nil
}
