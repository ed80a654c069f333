# Debian packages: scripts/package makes them.
install(FILES ${CMAKE_CURRENT_LIST_DIR}/systemd/wicketd.service DESTINATION lib/systemd/system COMPONENT wicket)
install(FILES ${CMAKE_CURRENT_LIST_DIR}/systemd/wicket.sysusers DESTINATION lib/sysusers.d RENAME wicket.conf
        COMPONENT wicket)
install(FILES ${CMAKE_CURRENT_LIST_DIR}/systemd/wicket-edge.service
              ${CMAKE_CURRENT_LIST_DIR}/systemd/wicket-hook.service DESTINATION lib/systemd/system
        COMPONENT wicket-edge)
install(FILES ${CMAKE_CURRENT_LIST_DIR}/systemd/wicket-edge.sysusers DESTINATION lib/sysusers.d
        RENAME wicket-edge.conf COMPONENT wicket-edge)
install(FILES ${CMAKE_CURRENT_LIST_DIR}/debian/edge/edge.toml ${CMAKE_CURRENT_LIST_DIR}/debian/edge/hooks.toml DESTINATION share/doc/wicket-edge/examples
        COMPONENT wicket-edge)
install(FILES ${CMAKE_SOURCE_DIR}/docs/edge.md ${CMAKE_SOURCE_DIR}/docs/hooks.md DESTINATION share/doc/wicket-edge COMPONENT wicket-edge)
foreach(page IN ITEMS guide configuration cli operations peers scaling tuning)
  install(FILES ${CMAKE_SOURCE_DIR}/docs/${page}.md DESTINATION share/doc/wicket COMPONENT wicket)
endforeach()
install(FILES ${CMAKE_SOURCE_DIR}/docs/openapi.yaml ${CMAKE_SOURCE_DIR}/docs/monitoring/alerts.yml
              ${CMAKE_SOURCE_DIR}/docs/monitoring/dashboard.json DESTINATION share/doc/wicket COMPONENT wicket)
install(FILES ${CMAKE_CURRENT_LIST_DIR}/debian/wicket.toml DESTINATION share/doc/wicket/examples COMPONENT wicket)
install(FILES ${CMAKE_SOURCE_DIR}/docs/load.md DESTINATION share/doc/wicket-tools COMPONENT wicket-tools)

# A changelog is what lintian asks for; the commits tell the rest.
string(TIMESTAMP today "%a, %d %b %Y %H:%M:%S +0000" UTC)
foreach(package IN ITEMS wicket wicket-edge wicket-tools)
  set(folder ${CMAKE_BINARY_DIR}/debian/${package})
  file(WRITE ${folder}/changelog
    "${package} (${PROJECT_VERSION}) unstable; urgency=medium\n\n  * See the commits.\n\n -- The Wicket authors <wicket@localhost.localdomain>  ${today}\n")
  install(CODE "execute_process(COMMAND gzip -9nkf ${folder}/changelog)" COMPONENT ${package})
  install(FILES ${folder}/changelog.gz DESTINATION share/doc/${package} COMPONENT ${package})
  install(FILES ${CMAKE_CURRENT_LIST_DIR}/debian/copyright DESTINATION share/doc/${package} COMPONENT ${package})
endforeach()

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME wicket)
set(CPACK_PACKAGE_VENDOR "The Wicket authors")
set(CPACK_PACKAGE_CONTACT "The Wicket authors <wicket@localhost.localdomain>")
set(CPACK_PACKAGE_DIRECTORY ${CMAKE_BINARY_DIR}/packages)
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES OFF)  # the debug symbols have a package of their own
set(CPACK_COMPONENTS_ALL wicket wicket-edge wicket-tools)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_SECTION net)
set(CPACK_DEBIAN_DEBUGINFO_PACKAGE ON)
set(CPACK_DEBIAN_WICKET_PACKAGE_NAME wicket)
set(CPACK_DEBIAN_WICKET_PACKAGE_SUGGESTS "wireguard-tools")
set(CPACK_DEBIAN_WICKET_PACKAGE_CONTROL_EXTRA ${CMAKE_CURRENT_LIST_DIR}/debian/postinst
    ${CMAKE_CURRENT_LIST_DIR}/debian/prerm ${CMAKE_CURRENT_LIST_DIR}/debian/postrm)
set(CPACK_COMPONENT_WICKET_DESCRIPTION
    "just-in-time WireGuard gateway\nKeeps all peers in an embedded database, and installs one into the WireGuard\ndevice when its own handshake arrives.")
set(CPACK_DEBIAN_WICKET-EDGE_PACKAGE_NAME wicket-edge)
set(CPACK_DEBIAN_WICKET-EDGE_PACKAGE_RECOMMENDS "ca-certificates")
set(CPACK_DEBIAN_WICKET-EDGE_PACKAGE_DEPENDS "wicket (= ${PROJECT_VERSION})")
set(CPACK_DEBIAN_WICKET-EDGE_PACKAGE_CONTROL_EXTRA ${CMAKE_CURRENT_LIST_DIR}/debian/edge/postinst
    ${CMAKE_CURRENT_LIST_DIR}/debian/edge/prerm ${CMAKE_CURRENT_LIST_DIR}/debian/edge/postrm)
set(CPACK_COMPONENT_WICKET-EDGE_DESCRIPTION
    "network face of a Wicket gateway\nHTTPS with tokens and roles before the gateway's control socket, a page for the\nbrowser, and webhooks. It runs as a user of its own without any right.")
set(CPACK_DEBIAN_WICKET-TOOLS_PACKAGE_NAME wicket-tools)
set(CPACK_COMPONENT_WICKET-TOOLS_DESCRIPTION
    "load generator for WireGuard endpoints\nMakes real handshakes of many clients, floods included, and reports what was\nanswered and how fast.")
include(CPack)
