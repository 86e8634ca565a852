package main

import (
	"bufio"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// step is one word of a tag. The words are taken from left to right:
//
//	exit3         exit with code 3
//	slow30s       print a line each second for 30 seconds; also m for minutes
//	log2m         print 2 MiB of numbered lines; also k for KiB
//	line100k      print one line of 100 KiB; also m for MiB
//	canaryXYZ     print the word XYZ between two ordinary lines
//	bytes         print control characters, colours and invalid UTF-8
//	oom           take memory until the kernel kills the container
//	deaf          pay no attention to SIGTERM from the start
//
// Words are separated by anything that is no letter or digit, so `v1.2.3-slow30s.exit3` sleeps
// and then fails. Other words, such as the version's numbers, do nothing; the end is exit 0.
type step struct {
	name   string
	amount int
	unit   string
	text   string
}

var (
	words    = regexp.MustCompile(`[A-Za-z0-9]+`)
	counted  = regexp.MustCompile(`^(exit|slow|log|line)([0-9]+)([skm]?)$`)
	canary   = regexp.MustCompile(`^canary([A-Za-z0-9]+)$`)
	plain    = map[string]bool{"bytes": true, "oom": true, "deaf": true}
	units    = map[string]string{"exit": "", "slow": "sm", "log": "km", "line": "km"}
	lineText = strings.Repeat("x", 80)
)

func parse(tag string) ([]step, error) {
	var steps []step
	for _, word := range words.FindAllString(tag, -1) {
		switch {
		case plain[word]:
			steps = append(steps, step{name: word})
		case canary.MatchString(word):
			steps = append(steps, step{name: "canary", text: canary.FindStringSubmatch(word)[1]})
		case counted.MatchString(word):
			parts := counted.FindStringSubmatch(word)
			amount, err := strconv.Atoi(parts[2])
			if err != nil {
				return nil, fmt.Errorf("number too large in %q", word)
			}
			if unitMissing := parts[3] == "" && units[parts[1]] != ""; unitMissing || !strings.Contains(units[parts[1]], parts[3]) {
				return nil, fmt.Errorf("bad unit in %q", word)
			}
			steps = append(steps, step{name: parts[1], amount: amount, unit: parts[3]})
		}
	}
	return steps, nil
}

func has(steps []step, name string) bool {
	for _, step := range steps {
		if step.name == name {
			return true
		}
	}
	return false
}

// perform does the steps and answers the exit code.
func perform(steps []step, out io.Writer, sleep func(time.Duration)) int {
	for _, step := range steps {
		switch step.name {
		case "exit":
			return step.amount
		case "slow":
			for second := range step.seconds() {
				fmt.Fprintf(out, "scripted: second %d of %d\n", second+1, step.seconds())
				sleep(time.Second)
			}
		case "log":
			printLines(out, step.bytes())
		case "line":
			fmt.Fprintln(out, strings.Repeat("y", step.bytes()))
		case "canary":
			fmt.Fprintf(out, "scripted: the canary follows\n%s\nscripted: that was the canary\n", step.text)
		case "bytes":
			fmt.Fprint(out, "\x1b[31mred\x1b[0m \a\b\x00 \u202e bidi \xff\xfe invalid\n")
		case "oom":
			fill()
		}
	}
	return 0
}

func (s step) seconds() int {
	if s.unit == "m" {
		return s.amount * 60
	}
	return s.amount
}

func (s step) bytes() int {
	if s.unit == "m" {
		return s.amount << 20
	}
	return s.amount << 10
}

func printLines(out io.Writer, total int) {
	buffered := bufio.NewWriter(out)
	defer buffered.Flush()
	for number, written := 1, 0; written < total; number++ {
		count, err := fmt.Fprintf(buffered, "%08d %s\n", number, lineText)
		if err != nil {
			return
		}
		written += count
	}
}

// fill touches every page it takes, because untouched memory costs nothing.
func fill() {
	const chunk, page = 16 << 20, 4096
	var kept [][]byte
	for {
		memory := make([]byte, chunk)
		for index := 0; index < chunk; index += page {
			memory[index] = 1
		}
		kept = append(kept, memory)
		if len(kept)%16 == 0 {
			fmt.Printf("scripted: holding %d MiB\n", len(kept)*chunk>>20)
		}
	}
}
