package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

type completionCommand struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

// Help says where the script goes.
func (completionCommand) Help() string {
	return `bash: put  source <(devflowfix completion bash)  into ~/.bashrc
zsh:  put  source <(devflowfix completion zsh)   into ~/.zshrc, after compinit
fish: devflowfix completion fish > ~/.config/fish/completions/devflowfix.fish`
}

// scripts ask the program itself how a command line can go on, so that they
// need no change when the commands do.
var scripts = map[string]string{
	"bash": `_devflowfix() {
	local IFS=$'\n'
	COMPREPLY=($(devflowfix complete -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null | cut -f1))
}
complete -o default -F _devflowfix devflowfix
`,
	"zsh": `_devflowfix() {
	local -a lines
	lines=("${(@f)$(devflowfix complete -- "${(@)words[2,CURRENT]}" 2>/dev/null | sed 's/:/\\:/g; s/\t/:/')}")
	[[ -n "${lines[1]}" ]] && _describe devflowfix lines || _files
}
compdef _devflowfix devflowfix
`,
	"fish": `complete -c devflowfix -f -a '(devflowfix complete -- (commandline -opc)[2..] (commandline -ct))'
`,
}

// Run prints the script of a shell.
func (c completionCommand) Run(p *process) error {
	_, err := fmt.Fprint(p.stdout, scripts[c.Shell])
	return err
}

type completeCommand struct {
	Words []string `arg:"" optional:"" help:"The words after the program's name; the last is the one to complete, and may be empty."`
}

// Run prints what the last word can become, each with a tab and its meaning.
func (c completeCommand) Run(p *process, k *kong.Kong) error {
	words := c.Words
	if len(words) == 0 {
		words = []string{""}
	}
	for _, s := range suggest(k.Model.Node, words[:len(words)-1], words[len(words)-1]) {
		fmt.Fprintf(p.stdout, "%s\t%s\n", s.word, s.help)
	}
	return nil
}

type suggestion struct{ word, help string }

// suggest follows the words to a command and returns how it can go on.
func suggest(node *kong.Node, words []string, last string) []suggestion {
	arguments := 0
	var waits *kong.Flag // for its value
	for _, word := range words {
		switch {
		case waits != nil:
			waits = nil
		case strings.HasPrefix(word, "-"):
			waits = valued(node, word)
		default:
			if next := child(node, word); next != nil {
				node, arguments = next, 0
			} else {
				arguments++
			}
		}
	}
	var all []suggestion
	switch {
	case waits != nil:
		all = choices(waits.Value)
	case strings.HasPrefix(last, "-"):
		all = flags(node)
	default:
		if arguments == 0 {
			all = commandsOf(node)
		}
		if arguments < len(node.Positional) {
			all = append(all, choices(node.Positional[arguments])...)
		}
	}
	return slices.DeleteFunc(all, func(s suggestion) bool { return !strings.HasPrefix(s.word, last) })
}

func child(node *kong.Node, word string) *kong.Node {
	for _, c := range node.Children {
		if c.Name == word {
			return c
		}
	}
	return nil
}

// valued is the flag that a word names and whose value the next word is; nil
// when there is none.
func valued(node *kong.Node, word string) *kong.Flag {
	for _, group := range node.AllFlags(true) {
		for _, f := range group {
			if "--"+f.Name == word && !f.IsBool() {
				return f
			}
		}
	}
	return nil
}

func choices(v *kong.Value) []suggestion {
	var all []suggestion
	for _, word := range v.EnumSlice() {
		if word != "" {
			all = append(all, suggestion{word: word})
		}
	}
	return all
}

func flags(node *kong.Node) []suggestion {
	var all []suggestion
	for _, group := range node.AllFlags(true) {
		for _, f := range group {
			all = append(all, suggestion{"--" + f.Name, f.Help})
		}
	}
	return all
}

func commandsOf(node *kong.Node) []suggestion {
	var all []suggestion
	for _, c := range node.Children {
		if !c.Hidden {
			all = append(all, suggestion{c.Name, c.Help})
		}
	}
	return all
}
