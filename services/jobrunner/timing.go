package jobrunner

import "time"

// timing are the intervals of a Runner, which tests shorten.
type timing struct {
	// tick is how often depths are read, what is needed is kept awake, and what only time changes is looked at.
	tick time.Duration
	// least and most bound the pause before a failed step is repeated, quota the one before a Job for which the namespace had no room.
	least, most, quota time.Duration
	// relook is how often the API server is asked about a Job that is being deleted, in case the news of its end was lost.
	relook time.Duration
	// wake is how often a dependency that is not ready is woken.
	wake time.Duration
	// idle is how long a queue may be empty before its consumer is left.
	idle time.Duration
	// missing is how long the stream of requests may be away before it is made anew.
	missing time.Duration
	// unknown is how long requests for a job that is not known wait for its definition.
	unknown time.Duration
	// index is how old a request is before it gets a record although nobody has taken it.
	index time.Duration
	// lost is how old a record may be before a request that is not in the queue counts as lost.
	lost time.Duration
	// stray is how long a suspended Job may be in no record before it is deleted.
	stray time.Duration
	// retain is how often old records are looked for, and spared the age below which none goes.
	retain, spared time.Duration
	// recheck is how often a definition that was refused is checked again.
	recheck time.Duration
	// metrics is how often the gauges are brought up to date.
	metrics time.Duration
	// stuck is how long Run's goroutine may stand still before Live says so.
	stuck time.Duration
}

var standardTiming = timing{
	tick: time.Second, least: time.Second, most: time.Minute, quota: 30 * time.Second, relook: 10 * time.Second,
	wake: 5 * time.Second, idle: 30 * time.Second, missing: 3 * time.Second, unknown: time.Minute, index: time.Second, lost: time.Minute, stray: 5 * time.Minute,
	retain: time.Minute, spared: time.Hour, recheck: 5 * time.Minute, metrics: 5 * time.Second, stuck: 30 * time.Second,
}

// alarm rings at the earliest of the times that it was set to. One goroutine owns it.
type alarm struct {
	timer *time.Timer
	at    time.Time
}

// set lets it ring at that time at the latest.
func (a *alarm) set(at time.Time) {
	if !a.at.IsZero() && !at.Before(a.at) {
		return
	}
	a.at = at
	if a.timer == nil {
		a.timer = time.NewTimer(time.Until(at))
		return
	}
	a.timer.Reset(time.Until(at))
}

// rings brings a value when it rings; rang must follow.
func (a *alarm) rings() <-chan time.Time {
	if a.timer == nil {
		return nil
	}
	return a.timer.C
}

func (a *alarm) rang() { a.at = time.Time{} }

func (a *alarm) stop() {
	if a.timer != nil {
		a.timer.Stop()
	}
}
