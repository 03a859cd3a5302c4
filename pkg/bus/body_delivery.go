package bus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// Stored reports whether the body of the call is in the object store; Call.Body is empty then.
func (d *Delivery) Stored() bool { return d.Call.stored.name != "" }

// OpenBody returns the body of a delivered call that is in the object store, and its size. Delivery.Stored says whether there is one. The
// body can be read while ctx lasts; reading bears with a server that is away for as long as a publish does. The error, also of reading,
// wraps ErrBodyLost if the body is not there any more.
func (d *Delivery) OpenBody(ctx context.Context) (body io.ReadCloser, size int64, err error) {
	wanted, store := d.Call.stored, d.bus.bodies()
	msg, err := store.find(ctx, lookup{Last: store.meta(wanted.name)})
	if errors.Is(err, errNoMessage) {
		err = ErrBodyLost
	}
	if err != nil {
		return nil, 0, fmt.Errorf("open the body of call %s: %w", d.ID, err)
	}
	info, err := store.readInfo(msg)
	if err != nil {
		return nil, 0, fmt.Errorf("open the body of call %s: %w", d.ID, err)
	}
	if info.Metadata[bodyFunction] != d.Call.Function || int64(info.Size) != wanted.size { // a message can name anything
		return nil, 0, fmt.Errorf("open the body of call %s: %w: what is there is not its body", d.ID, ErrBodyLost)
	}
	return store.open(ctx, info), wanted.size, nil
}

// ownBody is the body of the call as it is now, nil if it is gone or not the call's.
func (d *Delivery) ownBody(ctx context.Context) (*body, error) {
	store := d.bus.bodies()
	info, place, err := store.look(ctx, d.Call.stored.name)
	switch { // a message can name anything
	case errors.Is(err, ErrBodyLost), err == nil && (info == nil || info.Metadata[bodyFunction] != d.Call.Function || info.Name != d.Call.stored.name):
		return nil, nil
	case err != nil:
		return nil, err
	}
	return &body{object{store: store, info: *info, meta: place}}, nil
}

// dropBody removes the body of a call that has ended, unless there is a dead letter. If it fails SweepBodies removes it.
func (d *Delivery) dropBody(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	body, err := d.ownBody(ctx)
	if err == nil && body != nil && body.info.Metadata[bodyDead] == "" {
		_ = body.store.remove(ctx, body.info.Name, body.info.NUID)
	}
}

// keepBody says that the body belongs to a dead letter. It repeats until ctx ends. If the object store is so full that it cannot be said,
// SweepBodies finds the dead letter.
func (d *Delivery) keepBody(ctx context.Context, dead uint64) error {
	err := retry(ctx, func(ctx context.Context) error {
		body, err := d.ownBody(ctx)
		if err != nil || body == nil {
			return err
		}
		body.info.Metadata[bodyDead] = strconv.FormatUint(dead, 10)
		return body.describe(ctx)
	})
	if errors.Is(err, ErrStorageFull) {
		return nil
	}
	return err
}
