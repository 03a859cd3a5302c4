package local

import (
	"context"
	"fmt"
	"os"

	"github.com/sluicefaas/sluice/pkg/job"
	"github.com/sluicefaas/sluice/services/jobrunner"
)

// wireJobs makes the jobrunner and the processes that it starts.
func (l *Local) wireJobs() (err error) {
	runnerBus, err := l.connect("jobrunner")
	if err != nil {
		return err
	}
	l.jobs, err = OpenJobs(JobConfig{
		DataDir: l.folder.path, Namespace: l.config.Namespace, Definitions: l.contents.definitions(), Logger: l.logger,
		Env: []string{"SLUICE_URL=" + l.insideURL()}, Backoff: l.jobBackoff, processes: l.processes,
	})
	if err != nil {
		return err
	}
	l.runner = jobrunner.New(l.config.Jobs, jobrunner.Deps{
		Bus: runnerBus, Cluster: l.jobs, Logger: l.logger, Registry: l.registry, Name: fmt.Sprintf("jobrunner-local-%d", os.Getpid()),
	})
	return nil
}

// endJobs is the first stage to end: the processes of jobs are told to end while calls are still being finished, and by the time that everything else has
// ended they have had as long as the manifest gives them, or as everything has. None is started any more.
func (l *Local) endJobs(take, _ context.Context) error {
	<-take.Done()
	l.jobs.Terminate()
	return nil
}

// runJobs is the jobrunner's stage. It ends when every process has, which are killed when work ends.
func (l *Local) runJobs(take, work context.Context) error {
	select {
	case <-l.scaler.Synced(): // the functions that jobs depend on are known
	case <-take.Done():
		return nil
	}
	stop := context.AfterFunc(work, l.jobs.Kill)
	defer stop()
	return l.runner.Run(take)
}

// definitions are those of the jobs, and those that are refused.
func (c Contents) definitions() (definitions []job.Definition) {
	for _, j := range c.Jobs {
		definitions = append(definitions, j.Definition)
	}
	return append(definitions, c.Refused...)
}

// jobsConfigurationSource is where jobs in SlimFaas's own form are written.
const jobsConfigurationSource = "--jobs-configuration"

// slimFaasNotices tells of the jobs in SlimFaas's own form, which name an image and no program of this machine.
func (l *Local) slimFaasNotices() (notices []Notice) {
	manifests := map[string]bool{}
	for _, j := range l.contents.Jobs {
		manifests[j.Definition.Name] = true
	}
	for _, d := range l.config.Jobs.JobsConfiguration.Definitions {
		if d.Fallback || manifests[d.Name] {
			continue
		}
		notices = append(notices, Notice{
			Level: LevelWarn, File: jobsConfigurationSource, Key: d.Name,
			Text: "its runs fail here: it has an image and no command; a manifest of that name, a suspended CronJob with the annotation sluice/LocalCommand, takes its place",
		})
	}
	return notices
}
