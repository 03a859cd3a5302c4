package bus

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"io"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// defaultIdempotencyTTL is the IdempotencyTTL of Settings that say none.
const defaultIdempotencyTTL = 24 * time.Hour

// keyRecord is what is kept of an idempotency key: which call it is for and, once that is queued, the call's id. It is written before the
// call is published, so that the key is bound to one call at any time, and never removed, also if the call is refused: somebody else may
// be about to queue it. Until it has the id, the same Nats-Msg-Id for all who publish with the key makes sure that one of them queues it.
type keyRecord struct {
	// Call is a hash of the call's method, path, query and body.
	Call string `json:"call"`
	ID   string `json:"id,omitempty"`
}

// EnsureKeys makes the bucket of idempotency keys. It is for the dispatcher.
func (b *Bus) EnsureKeys(ctx context.Context) error {
	ttl := b.config.Settings.IdempotencyTTL
	if ttl == 0 {
		ttl = defaultIdempotencyTTL
	}
	kv, err := b.ensureBucket(ctx, jetstream.KeyValueConfig{
		Bucket: b.KeysBucket(), Description: "Idempotency keys of calls", TTL: ttl,
	})
	if err != nil {
		return err
	}
	b.keys.Store(&kv)
	return nil
}

// keysBucket is the bucket, which another service may have to make first.
func (b *Bus) keysBucket(ctx context.Context) (jetstream.KeyValue, error) {
	if kv := b.keys.Load(); kv != nil {
		return *kv, nil
	}
	ctx, cancel := b.patiently(ctx)
	defer cancel()
	kv, err := b.awaitBucket(ctx, b.KeysBucket())
	if err != nil {
		return nil, err
	}
	b.keys.Store(&kv)
	return kv, nil
}

// keyed is the publication of one call with an idempotency key.
type keyed struct {
	bus *Bus
	kv  jetstream.KeyValue
	// key is that of the record.
	key  string
	call Call
	// hash gets what makes up the call.
	hash hash.Hash
	body *body
}

// publishKeyed queues a call with an idempotency key, once.
func (b *Bus) publishKeyed(ctx context.Context, call Call) (id string, err error) {
	kv, err := b.keysBucket(ctx)
	if err != nil {
		return "", err
	}
	k := &keyed{bus: b, kv: kv, key: keyOf(call.Function, call.IdempotencyKey), call: call, hash: newCallHash(call)}
	if call.Reader != nil {
		if id, found, err := k.known(ctx); found || err != nil {
			return id, err
		}
	}
	if err := k.store(ctx); err != nil {
		return "", err
	}
	record := keyRecord{Call: hex.EncodeToString(k.hash.Sum(nil))}
	id, err = k.bind(ctx, record)
	if err != nil || id != "" {
		k.body.discard(ctx)
		return id, err
	}
	return k.publish(ctx, record)
}

// known looks for the call that the key belongs to already, whose body need not be stored then.
func (k *keyed) known(ctx context.Context) (id string, found bool, err error) {
	record, err := k.load(ctx)
	if err != nil || record.ID == "" {
		return "", false, err
	}
	if _, err := io.Copy(k.hash, k.call.Reader); err != nil {
		return "", false, fmt.Errorf("read the body: %w", err)
	}
	if record.Call != hex.EncodeToString(k.hash.Sum(nil)) {
		return "", false, ErrKeyReused
	}
	return record.ID, true, nil
}

func (k *keyed) load(ctx context.Context) (record keyRecord, err error) {
	ctx, cancel := k.bus.patiently(ctx)
	defer cancel()
	err = retry(ctx, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, requestTimeout)
		defer cancel()
		value, _, err := current(ctx, k.kv, k.key)
		if err != nil || value == nil {
			return err
		}
		return json.Unmarshal(value, &record)
	})
	return record, err
}

// store hashes the body and, if it is a large one, stores it.
func (k *keyed) store(ctx context.Context) (err error) {
	if k.call.Reader == nil {
		k.hash.Write(k.call.Body)
		return nil
	}
	k.call.Reader = io.TeeReader(k.call.Reader, k.hash)
	k.body, err = k.bus.putBody(ctx, &k.call)
	return err
}

// bind makes the key belong to the call. It returns the call's id if that is queued already.
func (k *keyed) bind(ctx context.Context, own keyRecord) (id string, err error) {
	err = k.bus.change(ctx, k.kv, k.key, func(old []byte) ([]byte, error) {
		if old == nil {
			return json.Marshal(own)
		}
		var record keyRecord
		if err := json.Unmarshal(old, &record); err != nil {
			return nil, fmt.Errorf("read the record of the key: %w", err)
		}
		if record.Call != own.Call {
			return nil, ErrKeyReused
		}
		id = record.ID
		return nil, nil
	})
	return id, err
}

// publish queues the call and completes the record. Of several that do so at the same time one queues it, and all get the same id.
func (k *keyed) publish(ctx context.Context, record keyRecord) (id string, err error) {
	ack, err := k.bus.publishAlone(ctx, k.bus.encode(k.call), "key-"+k.key)
	if err != nil {
		k.body.refused(ctx, err)
		return "", err
	}
	id = k.bus.callID(ack.Sequence)
	if !ack.Duplicate {
		k.body.queued(ctx, id)
	} // else whose body it is will be found by SweepBodies: it may be this one, if an answer of the server was lost
	complete := keyRecord{Call: record.Call, ID: id}
	err = k.bus.change(ctx, k.kv, k.key, func(old []byte) ([]byte, error) {
		if there := (keyRecord{}); json.Unmarshal(old, &there) == nil && there == complete {
			return nil, nil
		}
		return json.Marshal(complete)
	})
	if err != nil { // the caller repeats the call with its key, and gets the id then
		return "", err
	}
	return id, nil
}

// keyOf is the key of a record: idempotency keys of different functions have nothing to do with each other.
func keyOf(function, key string) string {
	sum := sha256.Sum256([]byte(function + "\x00" + key))
	return hex.EncodeToString(sum[:])
}

// newCallHash begins the hash of a call with all but its body.
func newCallHash(call Call) hash.Hash {
	h := sha256.New()
	path := call.Path
	if path == "" {
		path = "/"
	}
	for _, part := range []string{call.Method, path, call.Query} {
		h.Write([]byte(strconv.Itoa(len(part)) + ":" + part)) // with its length: "a" and "bc" are not "ab" and "c"
	}
	return h
}
