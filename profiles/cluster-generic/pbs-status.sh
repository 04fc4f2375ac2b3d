#!/bin/sh
# Print whether a job of PBS, given by its number, is running (or waits), has ended in success, or failed.
# A server that does not answer is asked again. It has to keep a history of jobs (job_history_enable).
qstat -xf "$1" 2> /dev/null | awk -F ' = ' '
    $1 ~ /job_state/ { state = $2 }
    $1 ~ /Exit_status/ { status = $2 }
    END { print state != "F" ? "running" : status == "0" ? "success" : "failed" }
'
