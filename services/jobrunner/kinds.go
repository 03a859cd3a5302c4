package jobrunner

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/sluicefaas/sluice/pkg/job"
)

// kind is what is known of one name of a definition. The goroutine of Run owns it.
type kind struct {
	name string
	// cron is what the cluster has, and given what the configuration has under the name; cron wins. nil is that there is none.
	cron, given *job.Definition
	// good is the last one that the cluster would make Jobs of, or that an earlier leader has shared.
	good *job.Definition
	// checked is the generation that verdict is about, which says why it is refused; it is empty while none was checked.
	checked, verdict string
	// tried is the last one about which the cluster could not be asked.
	tried *job.Definition
	// complained is the generation about whose verdict people have been told, with the verdict.
	complained [2]string
	// checking says that a helper asks; not before retryAt after failures in a row.
	checking bool
	failures int
	retryAt  time.Time
	// shared is what the bucket has; sharing says that a helper changes that, and unsure that it may have another one.
	shared          *job.Definition
	sharing, unsure bool
}

// wanted is the definition as it should be, nil if there is none. A CronJob that cannot be read takes nothing away from the configuration.
func (k *kind) wanted() *job.Definition {
	if k.cron != nil && (k.cron.Refused == "" || k.given == nil) {
		return k.cron
	}
	return k.given
}

// effective is what is shared: the definition as it should be, if the cluster takes it; else as it was last good, with what is wrong; else as one that is refused. One that
// could not be checked holds if there was none before, until the next one is checked.
func (k *kind) effective() *job.Definition {
	wanted := k.wanted()
	switch {
	case wanted == nil, wanted.Refused != "", current(k.good, wanted):
		return wanted
	case k.refuses(wanted) && k.good != nil:
		kept := *k.good
		kept.Problems = append(slices.DeleteFunc(slices.Clone(kept.Problems), isRefusedChange), refusedChange+k.verdict)
		return &kept
	case k.refuses(wanted):
		refused := *wanted
		refused.Refused, refused.Template = k.verdict, nil
		return &refused
	case k.good != nil:
		return k.good
	}
	return k.tried
}

// current reports whether a definition is there, and is of the wanted generation.
func current(d, wanted *job.Definition) bool { return d != nil && d.Generation == wanted.Generation }

func (k *kind) refuses(d *job.Definition) bool { return k.verdict != "" && k.checked == d.Generation }

// refusedChange begins the sentence about a definition that is refused while its last good one holds.
const refusedChange = "the definition as it is now is not used, as it was before holds: "

func isRefusedChange(sentence string) bool { return strings.HasPrefix(sentence, refusedChange) }

// settled reports whether it is decided which definition holds, and the bucket has it.
func (k *kind) settled() bool { return k.decided() && k.upToDate() }

// decided reports whether the cluster has been asked about the definition as it should be.
func (k *kind) decided() bool {
	wanted := k.wanted()
	return wanted == nil || k.checked == wanted.Generation || current(k.tried, wanted) || current(k.good, wanted)
}

func (k *kind) upToDate() bool { return !k.unsure && !k.sharing && same(k.effective(), k.shared) }

func same(a, b *job.Definition) bool {
	if a == nil || b == nil {
		return a == b
	}
	return reflect.DeepEqual(normal(*a), normal(*b))
}

// normal makes nil and empty lists the same, as they are in JSON.
func normal(d job.Definition) job.Definition {
	d.Template = slices.Clip(append(d.Template[:0:0], d.Template...))
	for _, list := range []*[]string{&d.Aliases, &d.DependsOn, &d.Overrides.Allow, &d.Overrides.Images, &d.Overrides.ReservedEnv, &d.Problems} {
		if len(*list) == 0 {
			*list = nil
		}
	}
	return d
}

// adopt takes over what an earlier leader has shared, then what the configuration has. What he has refused is not good for that.
func (r *Runner) adopt(shared map[string]job.Definition) {
	r.catalog.adopted = map[string]job.Definition{}
	for name, d := range shared {
		k := &kind{name: name, shared: &d, cron: &d}
		r.kinds[name] = k
		r.catalog.shown[name] = d
		if d.Refused != "" {
			k.checked, k.verdict = d.Generation, d.Refused
			continue
		}
		k.good = &d
		r.catalog.active[name], r.catalog.adopted[name] = d, d
	}
	for _, warning := range r.config.JobsConfiguration.Warnings {
		r.deps.Logger.Warn().Str("warning", warning).Msg("the configuration of jobs")
	}
	for _, d := range r.config.JobsConfiguration.Definitions {
		r.kind(d.Name).given = &d
		r.redefine(r.kind(d.Name))
	}
}

func (r *Runner) kind(name string) *kind {
	k := r.kinds[name]
	if k == nil {
		k = &kind{name: name}
		r.kinds[name] = k
	}
	return k
}

func (r *Runner) define(d job.Definition) {
	k := r.kind(d.Name)
	k.cron, k.failures, k.retryAt = &d, 0, time.Time{}
	if d.Refused != "" { // there is nothing that could be checked
		k.checked, k.verdict = d.Generation, d.Refused
	}
	r.catalog.seen[d.Name] = struct{}{}
	r.redefine(k)
}

func (r *Runner) undefine(name string) {
	if k := r.kinds[name]; k != nil {
		k.cron = nil
		r.redefine(k)
	}
}

// dropUndefined forgets what an earlier leader has shared and nobody defines any more, once the cluster has told all definitions, and begins to wait until all is shared.
func (r *Runner) dropUndefined() {
	for name, k := range r.kinds {
		if _, seen := r.catalog.seen[name]; !seen {
			k.cron = nil
			r.redefine(k)
		}
		r.catalog.awaited[name] = struct{}{}
	}
}

// redefine lets what holds now under a name hold: for requests from now on.
func (r *Runner) redefine(k *kind) {
	r.catalog.dirty[k.name] = struct{}{}
	if wanted := k.wanted(); wanted != nil && !current(k.good, wanted) {
		r.catalog.unchecked[k.name] = struct{}{}
	}
	before, had := r.catalog.shown[k.name]
	now := k.effective()
	switch {
	case now == nil && !had, now != nil && had && same(&before, now):
		return
	case now == nil:
		delete(r.catalog.shown, k.name)
	default:
		r.catalog.shown[k.name] = *now
	}
	r.activate(k.name, now)
	for _, q := range r.queues.all {
		if r.resolve(q); q.definition == "" {
			r.let(q, 0)
		}
	}
	r.review(k.name)
}

// activate lets runs be made of a definition, or no more; nil is that there is none.
func (r *Runner) activate(name string, d *job.Definition) {
	_, had := r.catalog.active[name]
	switch usable := d != nil && d.Refused == ""; {
	case usable:
		r.catalog.active[name] = *d
		if b := r.shelf[name]; b != nil {
			b.undefined = time.Time{}
		}
		if !had {
			r.deps.Logger.Info().Str("job", name).Str("source", d.Source).Msg("job found")
		}
	case had:
		delete(r.catalog.active, name)
		r.metrics.forget(name)
		r.deps.Logger.Info().Str("job", name).Msg("the job is not defined any more")
	}
}

// startChecks lets helpers ask the cluster whether it would make Jobs of definitions that are new. One that was refused is asked about again now and then: what was in its way
// may be gone.
func (r *Runner) startChecks(now time.Time) {
	for name := range r.catalog.unchecked {
		k := r.kinds[name]
		if k == nil {
			delete(r.catalog.unchecked, name)
			continue
		}
		switch wanted := k.wanted(); {
		case k.checking:
		case wanted == nil, wanted.Refused != "", k.checked == wanted.Generation && k.verdict == "":
			delete(r.catalog.unchecked, name)
		case now.Before(k.retryAt):
			r.alarm.set(k.retryAt)
		default:
			k.checking = true
			r.turns.addWork(onCluster, r.check(k, *wanted))
		}
	}
}

// check asks whether the cluster would make the Job of a request that changes no more than it must.
func (r *Runner) check(k *kind, d job.Definition) work {
	return func(ctx context.Context) func(time.Time) {
		err := r.checkDefinition(ctx, d)
		return func(now time.Time) { r.onChecked(k, d, err, now) }
	}
}

func (r *Runner) checkDefinition(ctx context.Context, d job.Definition) error {
	body, ok := d.SampleBody()
	if !ok {
		return nil
	}
	run := job.Accept(d, job.Message{Definition: d.Name, RunID: "check", Body: body}, time.Now())
	if run.Phase == job.Rejected {
		return fmt.Errorf("%w: %s", ErrInvalid, run.Message)
	}
	manifest, err := job.Manifest(run, r.deps.Cluster.Namespace())
	if err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if err := r.deps.Cluster.Check(ctx, manifest); !errors.Is(err, ErrQuota) { // only the room for it is missing
		return err
	}
	return nil
}

// onChecked takes the verdict. Where the cluster could not be asked it will be asked again.
func (r *Runner) onChecked(k *kind, d job.Definition, err error, now time.Time) {
	k.checking = false
	wanted := k.wanted()
	switch asked := wanted != nil && current(&d, wanted); {
	case err == nil && asked:
		k.checked, k.verdict, k.good, k.failures = d.Generation, "", &d, 0
	case err == nil:
		k.good = &d
	case !asked: // nobody asks about it any more
	case errors.Is(err, ErrInvalid):
		k.checked, k.verdict, k.tried, k.failures, k.retryAt = d.Generation, verdictOf(err), nil, 0, now.Add(r.timing.recheck)
		r.complain(k, d)
	default:
		k.tried = &d
		k.failures++
		k.retryAt = now.Add(r.pause(k.failures))
		r.deps.Logger.Debug().Err(err).Str("job", k.name).Msg("the definition could not be checked: it will be tried again")
	}
	r.redefine(k)
}

// verdictOf is why a definition is refused.
func verdictOf(err error) string {
	text := err.Error()
	if _, why, found := strings.Cut(text, ErrInvalid.Error()+": "); found {
		text = why
	}
	return strings.ToValidUTF8(text[:min(len(text), job.MaxMessage)], "")
}

// complain tells people that a definition is refused: once for each generation and verdict, however often it is checked.
func (r *Runner) complain(k *kind, d job.Definition) {
	about := [2]string{d.Generation, k.verdict}
	if k.complained == about {
		return
	}
	k.complained = about
	what := "the definition is not used: "
	if k.good != nil {
		what = refusedChange
	}
	r.deps.Logger.Error().Str("job", k.name).Str("source", d.Source).Msg("the definition is refused: " + k.verdict)
	r.deps.Cluster.Complain(d, what+k.verdict)
}

// retryChecks repeats at once what could not be checked while the cluster was away.
func (r *Runner) retryChecks(now time.Time) {
	for name := range r.catalog.unchecked {
		if k := r.kinds[name]; k != nil && k.failures > 0 {
			k.retryAt = now
		}
	}
}
