package local

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/sluicefaas/sluice/pkg/job"
)

const (
	// jobsFolder is the folder of Jobs in the data folder: a record for each, and the output of its pods.
	jobsFolder   = "jobs"
	recordSuffix = ".json"
	nextSuffix   = ".next" // of a record that is being written
	// maxRecord is the largest record that is read, in bytes: more than a NATS message can make.
	maxRecord = 4 * natsMaxPayload
)

// jobStore keeps the records of Jobs, each in a file that is replaced as a whole.
type jobStore struct {
	root *os.Root
}

func openJobStore(dataDir string) (*jobStore, error) {
	const onlyOurs = 0o700
	path := filepath.Join(dataDir, jobsFolder)
	if err := os.MkdirAll(path, onlyOurs); err != nil {
		return nil, fmt.Errorf("make the folder of jobs: %w", err)
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, fmt.Errorf("open the folder of jobs: %w", err)
	}
	return &jobStore{root: root}, nil
}

func (s *jobStore) close() error { return s.root.Close() }

// load returns the records, and an error for each file that is none; those are left where they are. Files of pods that no record has are removed.
func (s *jobStore) load() (records []jobRecord, wrong []error, err error) {
	entries, err := fs.ReadDir(s.root.FS(), ".")
	if err != nil {
		return nil, nil, fmt.Errorf("read the folder of jobs: %w", err)
	}
	pods := map[string]bool{}
	for _, entry := range entries {
		if !strings.HasSuffix(entry.Name(), recordSuffix) {
			continue
		}
		record, err := s.read(entry.Name())
		if err != nil {
			wrong = append(wrong, fmt.Errorf("read the job record %s: %w", entry.Name(), err))
			continue
		}
		records = append(records, record)
		for _, p := range record.Pods {
			pods[p.Name] = true
		}
	}
	for _, entry := range entries {
		pod, _, _ := strings.Cut(entry.Name(), ".")
		if !strings.HasSuffix(entry.Name(), recordSuffix) && !pods[pod] {
			_ = s.root.RemoveAll(entry.Name()) // it is in nobody's way
		}
	}
	return records, wrong, nil
}

func (s *jobStore) read(name string) (record jobRecord, err error) {
	file, err := s.root.Open(name)
	if err != nil {
		return jobRecord{}, err
	}
	defer func() { _ = file.Close() }() // it was only read
	content, err := io.ReadAll(io.LimitReader(file, maxRecord+1))
	if err != nil {
		return jobRecord{}, err
	}
	if len(content) > maxRecord {
		return jobRecord{}, fmt.Errorf("it is larger than %d MiB", maxRecord>>20)
	}
	if err := json.Unmarshal(content, &record); err != nil {
		return jobRecord{}, err
	}
	return record, record.check(name)
}

// durability of a write: of what no kill of the process takes back, or no loss of power either.
type durability bool

const (
	survivesKill  durability = false
	survivesPower durability = true
)

// write replaces the record of a Job. After an error it is as it was, or as it should be.
func (s *jobStore) write(record *jobRecord, d durability) error {
	content, err := json.Marshal(record)
	if err == nil {
		err = s.writeFile(record.Name+nextSuffix, content, d)
	}
	if err == nil {
		err = s.root.Rename(record.Name+nextSuffix, record.Name+recordSuffix)
	}
	if err == nil && d == survivesPower {
		err = s.sync()
	}
	if err != nil {
		return fmt.Errorf("write the record of job %s: %w", record.Name, err)
	}
	return nil
}

func (s *jobStore) writeFile(name string, content []byte, d durability) (err error) {
	file, err := s.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if _, err = file.Write(content); err == nil && d == survivesPower {
		err = file.Sync()
	}
	return err
}

// sync makes renames and removals in the folder durable.
func (s *jobStore) sync() error {
	folder, err := s.root.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

// remove removes the record of a Job, then the files of its pods.
func (s *jobStore) remove(record *jobRecord) error {
	if err := s.root.Remove(record.Name + recordSuffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the record of job %s: %w", record.Name, err)
	}
	for _, p := range record.Pods {
		s.removePod(p.Name)
	}
	return nil
}

// removePod removes what there is of a pod beside the record; what is left is removed by the next load.
func (s *jobStore) removePod(pod string) {
	for _, suffix := range []string{outputSuffix, olderSuffix} {
		_ = s.root.Remove(pod + suffix)
	}
}

// validPod keeps names that come from outside away from the folder.
func validPod(name string) bool { return job.ValidName(name) == nil }
