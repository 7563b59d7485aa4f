package docrun

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// step is one thing to do: a file to write or a command to run.
type step struct {
	line int // of the document, from 1
	who  string

	file, content string

	command string
	output  []string
	exit    int
}

func (s step) title() string {
	if s.file != "" {
		return s.who + "/" + s.file
	}
	return s.who + "$ " + s.command
}

var (
	commandLine = regexp.MustCompile(`^([a-z0-9][a-z0-9-]*)[$#] +(\S.*)$`)
	fileName    = regexp.MustCompile(`^([a-z0-9][a-z0-9-]*)/(\S+)$`)
	exitMark    = regexp.MustCompile(`^(.*?)\s*\(exit ([0-9]+)\)$`)
)

const fence = "```"

// parse reads the steps of a document. Errors begin with the line's number.
func parse(text string) ([]step, error) {
	var steps []step
	lines := strings.Split(text, "\n")
	for i := 0; i < len(lines); i++ {
		info, ok := strings.CutPrefix(lines[i], fence)
		if !ok {
			continue
		}
		end := i + 1
		for end < len(lines) && lines[end] != fence {
			end++
		}
		if end == len(lines) {
			return nil, fmt.Errorf("%d: the block does not end", i+1)
		}
		words := strings.Fields(info)
		switch {
		case len(words) == 1 && words[0] == "console":
			some, err := console(lines[i+1:end], i+2)
			if err != nil {
				return nil, err
			}
			steps = append(steps, some...)
		case len(words) == 2:
			m := fileName.FindStringSubmatch(words[1])
			if m == nil || !filepath.IsLocal(m[2]) {
				return nil, fmt.Errorf("%d: %q is not WHO/PATH", i+1, words[1])
			}
			content := strings.Join(lines[i+1:end], "\n") + "\n"
			steps = append(steps, step{line: i + 1, who: m[1], file: m[2], content: content})
		}
		i = end
	}
	return steps, nil
}

// console reads the commands of one block; first is the number of its first line.
func console(lines []string, first int) ([]step, error) {
	var steps []step
	for i := 0; i < len(lines); i++ {
		line := strings.TrimRight(lines[i], " ")
		if line == "" || line == "#" || strings.HasPrefix(line, "# ") {
			continue
		}
		if m := commandLine.FindStringSubmatch(line); m != nil {
			s := step{line: first + i, who: m[1], command: m[2]}
			for strings.HasSuffix(s.command, `\`) && i+1 < len(lines) {
				i++
				s.command += "\n" + strings.TrimRight(lines[i], " ")
			}
			steps = append(steps, s)
			continue
		}
		if len(steps) == 0 {
			return nil, fmt.Errorf("%d: output before the first command of the block", first+i)
		}
		s := &steps[len(steps)-1]
		if s.exit != 0 {
			return nil, fmt.Errorf("%d: output after the exit code", first+i)
		}
		if m := exitMark.FindStringSubmatch(line); m != nil {
			code, err := strconv.Atoi(m[2])
			if err != nil || code == 0 || code > 255 {
				return nil, fmt.Errorf("%d: (exit %s) is no exit code to announce", first+i, m[2])
			}
			s.exit = code
			if line = m[1]; line == "" {
				continue
			}
		}
		s.output = append(s.output, line)
	}
	return steps, nil
}

// prompt is a line of the document at which something is typed.
type prompt struct {
	text   string // what the program shows before the answer
	answer string
	secret bool
	wrong  bool
}

var (
	question = regexp.MustCompile(`^(.*Type yes: )(.*)$`)
	dots     = regexp.MustCompile(`^(.*: ?)·{3,}( \(wrong\))?$`)
)

// promptOf returns the prompt of a line, if it is one.
func promptOf(line string) (prompt, bool) {
	if m := question.FindStringSubmatch(line); m != nil {
		return prompt{text: m[1], answer: m[2]}, true
	}
	if m := dots.FindStringSubmatch(line); m != nil {
		return prompt{text: m[1], secret: true, wrong: m[2] != ""}, true
	}
	return prompt{}, false
}
