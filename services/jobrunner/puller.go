package jobrunner

import (
	"context"
	"time"

	"github.com/sluicefaas/sluice/pkg/bus"
)

const (
	// pullTick is how often a puller looks whether what it has asked for is still to come, and pullPause how long it waits after a failure.
	pullTick  = 500 * time.Millisecond
	pullPause = 200 * time.Millisecond
	// leaveTimeout bounds the wait for the server to send nothing more.
	leaveTimeout = time.Second
)

// puller takes requests of one queue, exactly as many as it is allowed. Its goroutine owns it.
type puller struct {
	runner   *Runner
	name     string
	consumer *bus.Consumer
	ctx      context.Context
	stop     context.CancelFunc
	// news has the newest number of deliveries that there may be since the puller began; allowed is that number, received how many there were.
	news              chan uint64
	allowed, received uint64
	// open says that requests can be asked for, lost that what was asked for may have been sent in vain.
	open, lost bool
}

func newPuller(ctx context.Context, r *Runner, name string) *puller {
	ctx, stop := context.WithCancel(ctx)
	// What an earlier leader has left out comes again at once, instead of after the ack wait.
	return &puller{runner: r, name: name, consumer: r.deps.Bus.NewJobConsumer(name, maxHeld), ctx: ctx, stop: stop, news: make(chan uint64, 1), lost: true}
}

// let allows so many deliveries since the puller began. One goroutine calls it.
func (p *puller) let(allowed uint64) {
	select {
	case <-p.news:
	default:
	}
	p.news <- allowed
}

// run pulls until its context ends, and hands back what came too late.
func (p *puller) run() {
	defer p.stop()
	reconnects, stopReconnects := p.runner.deps.Bus.Reconnects()
	defer stopReconnects()
	ticker := time.NewTicker(pullTick)
	defer ticker.Stop()
	for p.ctx.Err() == nil {
		if !p.open && !p.reopen() {
			continue
		}
		p.pull()
		select {
		case msg := <-p.consumer.Messages():
			delivery, err := p.consumer.Handle(msg)
			if err != nil {
				p.open = false
			}
			p.hand(delivery)
		case p.allowed = <-p.news:
		case <-reconnects:
			p.open, p.lost = false, true
		case now := <-ticker.C:
			if p.consumer.Silent(now) {
				p.open, p.lost = false, true
			}
		case <-p.ctx.Done():
		}
	}
	p.leave()
	p.runner.do(func(now time.Time) { p.runner.onLeft(p.name, now) })
}

// reopen makes sure that the consumer is there. If requests may have been lost on their way, all that are out are delivered again: those in our hands are known.
func (p *puller) reopen() bool {
	err := p.consumer.Open(p.ctx)
	if err == nil && p.lost {
		err = p.consumer.Redeliver(p.ctx)
		p.lost = err != nil
	}
	if err == nil {
		err = p.consumer.Reset()
	}
	p.open = err == nil
	if err != nil && p.ctx.Err() == nil {
		p.runner.deps.Logger.Warn().Err(err).Str("job", p.name).Msg("requests cannot be taken out of the queue: it will be tried again")
		select {
		case <-p.ctx.Done():
		case <-time.After(pullPause):
		}
	}
	return p.open
}

// pull asks for what may come, and takes back what may not come any more.
func (p *puller) pull() {
	if !p.open || len(p.consumer.Messages()) > 0 {
		return
	}
	more := int(int64(p.allowed-p.received)) - p.consumer.Asked()
	if more < 0 && p.consumer.Asked() > 0 {
		p.leave()
		if p.consumer.Reset() != nil {
			p.open = false
			return
		}
		more = int(int64(p.allowed - p.received))
	}
	if more <= 0 {
		return
	}
	if p.consumer.Pull(more) != nil {
		p.open = false // the reconnect opens it again
	}
}

// leave ends what is open and takes what it has brought.
func (p *puller) leave() {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(p.ctx), leaveTimeout)
	defer cancel()
	for _, delivery := range p.consumer.Leave(ctx) {
		p.hand(delivery)
	}
}

// hand gives a request to the runner, or back if that has ended.
func (p *puller) hand(delivery *bus.Delivery) {
	if delivery == nil {
		return
	}
	p.received++
	if !p.runner.do(func(now time.Time) { p.runner.onDelivery(p.name, delivery, now) }) {
		_ = delivery.Again(0) // it comes again after the ack wait at the latest
	}
}
