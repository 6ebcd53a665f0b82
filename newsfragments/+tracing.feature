Enhanced recording: with ``ssh_service.enhanced_recording.enabled`` a node has the kernel record what the programs of sessions do, as
far as roles ask for it (``enhanced_recording: [command, disk, network]``). The events ``session.command``, ``session.disk`` and
``session.network`` tell of programs, opened files and connections; what could not be recorded is counted in ``session.unseen``. It needs
Linux 5.8 and root, and neither BCC nor a compiler nor kernel headers.
