package local

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// playJobProcess is the process of a job. Its arguments say what it does, one after the other.
func playJobProcess() {
	for _, arg := range os.Args[1:] {
		what, value, _ := strings.Cut(arg, "=")
		switch what {
		case "ledger": // a line for its start
			appendLine(value, fmt.Sprintf("%s %d %s", os.Getenv("SLUICE_POD"), os.Getpid(), os.Getenv("JOB_RUN_ID")))
		case "done": // a line for its end
			appendLine(value, fmt.Sprintf("done %s %d %s", os.Getenv("SLUICE_POD"), os.Getpid(), os.Getenv("JOB_RUN_ID")))
		case "stamp": // the time, in a file that is there as a whole
			_ = os.WriteFile(value+".next", strconv.AppendInt(nil, time.Now().UnixNano(), 10), 0o600)
			_ = os.Rename(value+".next", value)
		case "print":
			fmt.Println(value)
		case "env":
			fmt.Println(value + "=" + os.Getenv(value))
		case "dir":
			dir, _ := os.Getwd()
			fmt.Println(dir)
		case "megabytes":
			n, _ := strconv.Atoi(value)
			for i := range n << 10 {
				fmt.Printf("%09d %s\n", i, strings.Repeat("x", 1013))
			}
		case "sleep":
			delay, _ := time.ParseDuration(value)
			<-time.After(delay)
		case "stubborn":
			signal.Ignore(syscall.SIGTERM)
		case "polite": // ends well when it is told to end, from the line in the ledger on
			signals := make(chan os.Signal, 1)
			signal.Notify(signals, syscall.SIGTERM)
			if value != "" {
				appendLine(value, fmt.Sprintf("%s %d", os.Getenv("SLUICE_POD"), os.Getpid()))
			}
			<-signals
			os.Exit(0)
		case "fork": // a grandchild that outlives it, with its output open
			fmt.Println(startHelper(value))
		case "alone": // tells if another process has the same, which it has until it ends
			file, err := os.OpenFile(value, os.O_CREATE|os.O_RDWR, 0o600)
			if err == nil {
				err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
			}
			if err != nil {
				appendLine(filepath.Dir(value)+"/twice", fmt.Sprint(value, " ", os.Getenv("SLUICE_POD"), " ", err))
			}
			alone = append(alone, file)
		case "await": // until there is a file
			for {
				if _, err := os.Stat(value); err == nil {
					break
				}
				<-time.After(5 * time.Millisecond)
			}
		case "failures": // as often as there is no line yet
			path, times, _ := strings.Cut(value, ",")
			n, _ := strconv.Atoi(times)
			text, _ := os.ReadFile(path)
			if strings.Count(string(text), "\n") <= n {
				os.Exit(3)
			}
		case "exit":
			code, _ := strconv.Atoi(value)
			os.Exit(code)
		}
	}
}

// alone are files that stay open until the process ends.
var alone []*os.File

// startHelper starts a grandchild that does one more thing, then lives until it is ended. With "escape" it leaves the process group.
func startHelper(does string) int {
	self, _ := os.Executable()
	cmd := exec.Command(self, does, "sleep=1h")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: does == "escape"}
	if err := cmd.Start(); err != nil {
		panic(err)
	}
	return cmd.Process.Pid
}

// appendLine writes a line as a whole, on the disk.
func appendLine(path, line string) {
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err == nil {
		_, err = file.WriteString(line + "\n")
	}
	if err != nil {
		panic(err)
	}
	_ = file.Close()
}
