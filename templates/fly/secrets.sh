#!/bin/sh
# Stages the Fly secrets of [[ app ]] and, with --deploy, restarts its Machines one after another with them.
#
#   ./secrets.sh                      stage all of them: before the first `fly deploy`
#   ./secrets.sh --deploy PF_API_KEY  rotate one: stage it, restart with it; revoke the old key afterwards
#
# A value comes from the file that NAME_FILE names, else from the variable NAME, else from a prompt that does not echo.
# It goes to flyctl through a pipe: on a command line every process of the machine could read it.
set -eu
# Tracing would write the values to the terminal or into a build log.
set +x

app=[[ app | sh ]]
required=[[ required | join(' ') | sh ]]
optional=[[ optional | join(' ') | sh ]]
line_end='
'
carriage_return=$(printf '\r')

refuse() {
  printf 'secrets.sh: %s\n' "$1" >&2
  exit 2
}

fail() {
  printf 'secrets.sh: %s\n' "$1" >&2
  exit 1
}

# Sets $value; never printed. A file's last line end is not part of the value.
read_value() {
  eval "file=\${${1}_FILE-} value=\${$1-}"
  if [ -n "$file" ]; then
    [ -r "$file" ] || refuse "$1: cannot read $file; check ${1}_FILE"
    value=$(cat "$file")
  elif [ -z "$value" ] && [ -t 0 ]; then
    trap 'stty echo' EXIT
    trap 'exit 130' INT TERM
    stty -echo # before the prompt: somebody may type at once
    printf '%s (not shown): ' "$1" >&2
    IFS= read -r value || value=
    stty echo
    trap - EXIT INT TERM
    printf '\n' >&2
  fi
}

# flyctl reads NAME=VALUE lines: no escapes, quotes are stripped once, and `#` begins a comment unless the number of double
# quotes before it is odd. So the kind of quotes depends on the value. Adds to $document.
add_to_document() {
  case $2 in
  *"$carriage_return"*) refuse "$1: a carriage return cannot be imported; is the file from Windows?" ;;
  *"$line_end"*) quote_lines "$1" "$2" ;;
  *\"*\#* | *\#*\"*)
    if odd_quotes "${2%%#*}"; then quoted="'$2'"; else quoted="\"\"\"$2\"\"\""; fi
    ;;
  *\"*) quoted="'$2'" ;;
  *) quoted="\"$2\"" ;;
  esac
  document="$document$1=$quoted$line_end"
}

quote_lines() {
  first=${2%%"$line_end"*}
  case $2 in *'"""'*) refuse "$1: several lines with three double quotes in a row cannot be imported" ;; esac
  case $first in
  *\#*) ! odd_quotes "${first%%#*}" || refuse "$1: several lines with a # after a quote cannot be imported" ;;
  esac
  quoted="\"\"\"$2\"\"\""
}

odd_quotes() {
  rest=$1
  while :; do
    case $rest in
    *\"*\"*) rest=${rest#*\"} rest=${rest#*\"} ;;
    *\"*) return 0 ;;
    *) return 1 ;;
    esac
  done
}

deploy=no names=
for argument do
  case " $required $optional " in
  *" $argument "*) names="$names $argument" ;;
  *)
    case $argument in
    --deploy) deploy=yes ;;
    --help | -h) sed -n '2,8s/^# \{0,1\}//p' "$0" && exit 0 ;;
    *) refuse "$argument: allowed are --deploy and the names $required $optional; values are never arguments" ;;
    esac
    ;;
  esac
done
command -v fly >/dev/null || refuse 'the command fly is not on the PATH; install flyctl and log in: fly auth login'

document=
sent=
for name in ${names:-$required $optional}; do
  read_value "$name"
  if [ -n "$value" ]; then
    add_to_document "$name" "$value"
    sent="$sent $name"
  else
    case " ${names:-$required} " in
    *" $name "*) refuse "$name has no value; set ${name}_FILE to a file with it, or run this in a terminal" ;;
    esac
  fi
  unset value quoted "$name" # what is left in the environment, flyctl would inherit
done

# `printf` is part of the shell: no process is started with the value.
printf '%s' "$document" | fly secrets import --stage --app "$app" ||
  fail 'fly could not stage the secrets (see above)'
unset document

listing=$(fly secrets list --app "$app" --json) || fail 'the secrets were sent, but fly could not list them (see above)'
for name in $sent; do
  case $listing in
  *"\"$name\""*) ;;
  *) fail "$name was sent, but Fly does not list it; nothing was restarted" ;;
  esac
done
if [ "$deploy" = yes ]; then
  fly secrets deploy --app "$app"
else
  printf 'Staged:%s. They take effect with the next fly deploy, or now with: fly secrets deploy --app %s\n' "$sent" "$app"
fi
