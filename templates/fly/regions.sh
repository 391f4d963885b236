#!/bin/sh
# Machines and volumes of [[ app ]]: shows what Fly has beside what the settings want, and changes it only with --apply.
#
#   ./regions.sh                    show the plan; exit code 1 where it is refused
#   ./regions.sh --apply            make new volumes and Machines, region by region
#   ./regions.sh --apply --shrink   also destroy Machines above the wanted count; their volumes stay
#
# Every Machine keeps a ledger of its own on its volume. `fly scale count` would attach any volume that is left over, and an
# old ledger would be settled again: so a region that has one does not grow until a person has decided about it.
set -eu

app=[[ app | sh ]]
group=[[ group | sh ]]
volume=[[ volume.name | sh ]]
size_gb=[[ volume.size_gb ]]
retention_days=[[ volume.snapshot_retention_days ]]
# Region:Machines, absolute; the primary region first. Regions that are not named here are left alone.
wanted='[[ regions | join(' ') ]]'

# stdin: two JSON lists, Machines and volumes. stdout: "machine REGION ID" and "volume REGION ID attached|left" a line.
# What cannot be read is an error: an unknown count is not zero.
parser='
import json, sys
text, group, name = sys.stdin.read().lstrip(), sys.argv[1], sys.argv[2]
decode = json.JSONDecoder().raw_decode
try:
    machines, end = decode(text)
    volumes, _ = decode(text[end:].lstrip())
    for machine in machines or []:
        if machine["state"] in ("destroyed", "destroying"):
            continue
        if not machine.get("config"):
            sys.exit("the host of Machine %s is unreachable, so its group is unknown" % machine["id"])
        if machine["config"]["metadata"].get("fly_process_group") == group:
            print("machine", machine["region"], machine["id"])
    for volume in volumes or []:
        if volume["name"] == name:
            attached = volume["attached_machine_id"] or volume.get("attached_alloc_id")
            print("volume", volume["region"], volume["id"], "attached" if attached else "left")
except (ValueError, KeyError, TypeError, AttributeError) as error:
    sys.exit("this is no list of Machines and of volumes: %r" % error)
'

stop() {
  printf 'regions.sh: %s\n' "$1" >&2
  exit "${2:-1}"
}

# Sets $state, or stops.
read_state() {
  machines=$(fly machine list --app "$app" --json) || stop 'fly could not list the Machines (see above)'
  volumes=$(fly volumes list --app "$app" --json) || stop 'fly could not list the volumes (see above)'
  state=$(printf '%s\n%s\n' "$machines" "$volumes" | python3 -c "$parser" "$group" "$volume") ||
    stop "what fly answered cannot be understood (see above); nothing was changed in this step"
}

machine_count() {
  printf '%s\n' "$state" | grep -c "^machine $1 " || :
}

# IDs of the volumes in a region that no Machine has.
left_over() {
  printf '%s\n' "$state" | sed -n "s/^volume $1 \([^ ]*\) left\$/\1/p" | tr '\n' ' '
}

# Sets $verdict: keep, grow, shrink or refuse.
judge() {
  verdict=keep
  if [ "$have" -gt "$count" ]; then
    verdict=shrink
    [ "$shrink" = yes ] || verdict=refuse reason="$((have - count)) Machines would be destroyed; allow it with --shrink"
  elif [ "$have" -lt "$count" ]; then
    verdict=grow
    [ -z "$left" ] || verdict=refuse reason="no Machine has ${left% } and there may be an old ledger on it"
  fi
}

grow() {
  fly volumes create "$volume" --app "$app" --region "$region" --count "$((count - have))" --size "$size_gb" \
    --snapshot-retention "$retention_days" --yes || stop "$region: fly could not make the volumes; run this again to see"
  read_state
  # shellcheck disable=SC2046  # the words are counted on purpose
  set -- $(left_over "$region")
  [ $# -eq $((count - have)) ] || stop "$region: $# volumes are free instead of $((count - have)); somebody else is at work"
}

scale() {
  fly scale count "$count" --app "$app" --process-group "$group" --region "$region" --yes ||
    stop "$region: fly could not scale; run this again to see"
  read_state
  [ "$(machine_count "$region")" -eq "$count" ] || stop "$region: $count Machines were asked for, Fly has another number"
}

apply=no shrink=no
for argument do
  case $argument in
  --apply) apply=yes ;;
  --shrink) shrink=yes ;;
  --help | -h) sed -n '2,9s/^# \{0,1\}//p' "$0" && exit 0 ;;
  *) stop "$argument: allowed are --apply and --shrink" 2 ;;
  esac
done
command -v fly >/dev/null || stop 'the command fly is not on the PATH; install flyctl and log in: fly auth login' 2
command -v python3 >/dev/null || stop 'the command python3 is not on the PATH' 2

read_state
refused=no
for entry in $wanted; do
  region=${entry%:*} count=${entry#*:} have=$(machine_count "${entry%:*}") left=$(left_over "${entry%:*}") reason=
  judge
  printf '%s: %s Machines, wanted %s: %s%s\n' "$region" "$have" "$count" "$verdict" "${reason:+ ($reason)}"
  [ "$verdict" != refuse ] || refused=yes
done
if [ "$refused" = yes ]; then
  printf 'A volume without a Machine: look with fly volumes show ID, then bring its ledger back by hand or remove it with fly volumes destroy ID.\n'
  stop 'refused, nothing was changed'
fi
if [ "$apply" = no ]; then
  printf 'Nothing was changed; --apply does it.\n'
  exit 0
fi
for entry in $wanted; do
  region=${entry%:*} count=${entry#*:} have=$(machine_count "${entry%:*}") left=$(left_over "${entry%:*}")
  judge
  case $verdict in
  grow) grow; scale ;;
  shrink) scale ;;
  refuse) stop "$region: changed while this ran; run it again" ;;
  esac
done
