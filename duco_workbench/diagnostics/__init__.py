"""What testers and ECUs say to each other over ISO-TP, pure: frames in; messages, readings and codes out.

::

    addressing     which frames are ISO-TP, and who talks to whom
    isotp          frames -> IsoTpMessage, with counted outcomes
    obd2           messages -> readings with units (table: obd2_pids), code lists, VIN          SAE J1979
    uds            messages -> requests and answers by name (tables: uds_names), DIDs, codes   ISO 14229-1
    trouble_codes  two bytes <-> "P0301"
"""
