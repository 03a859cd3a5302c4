package bus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// logsTTL removes output whose record is gone without anybody to remove it too, and what a process has left that was killed while it stored some.
const logsTTL = 31 * 24 * time.Hour

// logs is the object store of output.
func (b *Bus) logs() objects { return objects{b, b.JobLogsBucket(), ErrNoLog, true} }

func (b *Bus) ensureLogs(ctx context.Context) error {
	return b.ensure(ctx, "object store of output", func(ctx context.Context) error {
		_, err := b.js.CreateOrUpdateObjectStore(ctx, jetstream.ObjectStoreConfig{
			Bucket: b.JobLogsBucket(), Description: "What was kept of the output of runs", TTL: logsTTL,
			MaxBytes: b.config.Settings.storage().logs, Storage: jetstream.FileStorage, Replicas: b.config.Replicas,
		})
		return err
	})
}

// PutLog keeps what is read from r, at most limit bytes, in the object store of logs; what was there under the name is replaced. Nobody sees a part of it: it is there as a
// whole or not at all, and the error of r means that it is not.
func (b *Bus) PutLog(ctx context.Context, name string, r io.Reader, limit int64) (size int64, err error) {
	o := b.logs().newObject()
	o.info.Name = name
	if err = o.fill(ctx, io.LimitReader(r, limit), -1); err != nil {
		o.discardChunks(ctx)
	} else if err = o.replace(ctx); permanent(err) {
		o.discardChunks(ctx)
	}
	if err != nil {
		return 0, fmt.Errorf("store the output %s: %w", name, err)
	}
	return int64(o.info.Size), nil
}

// replace makes the object the one of its name, and removes the one that was. Of several at the same time the last one stays.
func (s *object) replace(ctx context.Context) error {
	ctx, cancel := s.store.bus.patiently(ctx)
	defer cancel()
	return retry(ctx, func(ctx context.Context) error {
		old, place, err := s.store.look(ctx, s.info.Name)
		switch {
		case err != nil && !errors.Is(err, s.store.lost): // what cannot be read is replaced too
			return err
		case old != nil && old.NUID == s.info.NUID: // an answer was lost
			return nil
		}
		s.meta = place
		if err := s.describe(ctx); err != nil {
			return err
		}
		if old != nil {
			_, _ = s.store.purge(ctx, s.store.chunks(old.NUID), 0) // what is left is removed by the TTL
		}
		return nil
	})
}

// discardChunks removes what was stored of an object that was never described, as far as the server answers.
func (s *object) discardChunks(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), requestTimeout)
	defer cancel()
	_, _ = s.store.purge(ctx, s.store.chunks(s.info.NUID), 0) // what is left is removed by the TTL
}

// GetLog reads it, while ctx lasts; the error, also of reading, wraps ErrNoLog if it is not there any more.
func (b *Bus) GetLog(ctx context.Context, name string) (io.ReadCloser, error) {
	store := b.logs()
	msg, err := store.find(ctx, lookup{Last: store.meta(name)})
	if errors.Is(err, errNoMessage) {
		return nil, fmt.Errorf("read the output %s: %w", name, ErrNoLog)
	}
	if err != nil {
		return nil, fmt.Errorf("read the output %s: %w", name, err)
	}
	info, err := store.readInfo(msg)
	if err == nil && info.Deleted {
		err = ErrNoLog
	}
	if err != nil {
		return nil, fmt.Errorf("read the output %s: %w", name, err)
	}
	return store.open(ctx, info), nil
}

// DeleteLog removes it; it is no error if it is not there.
func (b *Bus) DeleteLog(ctx context.Context, name string) error {
	ctx, cancel := b.patiently(ctx)
	defer cancel()
	store := b.logs()
	err := retry(ctx, func(ctx context.Context) error {
		info, place, err := store.look(ctx, name)
		if err != nil && !errors.Is(err, ErrNoLog) || place == 0 {
			return err
		}
		if _, err := store.purge(ctx, store.meta(name), place); err != nil || info == nil {
			return err
		}
		_, err = store.purge(ctx, store.chunks(info.NUID), 0)
		return err
	})
	if err != nil {
		return fmt.Errorf("remove the output %s: %w", name, err)
	}
	return nil
}
